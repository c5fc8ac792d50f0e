//! The layers of the crate: a module imports only what stands before it, and a driver is named only
//! by its adapter.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up. A module may import those before it.
const LAYERS: &[&str] = &[
    "error",
    "mutation",
    "hex",
    "entropy",
    "clock",
    "backoff",
    "secret",
    "id",
    "cursor",
    "broker",
    "auth",
    "state",
    "store",
    "credentials",
    "verify",
    "http",
    "client",
    "wire",
    "management",
    "callbacks",
    "event",
    "transport",
    "inspect",
    "ledger",
    "refused",
    "gate",
    "locks",
    "sources",
    "recent",
    "doubts",
    "identities",
    "core",
    "settlement",
    "inbound",
    "outbound",
    "upkeep",
    "decision",
    "propagator",
    "simulation",
    "testing",
    "fuzzing",
];

/// Drivers and the only places that name them.
const DRIVERS: &[(&str, &str)] = &[
    ("lapin", "src/transport/amqp"),
    ("redis", "src/state/redis"),
    ("sqlx", "src/management/sql"),
];

#[test]
fn modules_import_only_what_stands_below_them() {
    let rank: BTreeMap<&str, usize> =
        LAYERS.iter().enumerate().map(|(i, &name)| (name, i)).collect();
    let mut upward = Vec::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        let Some(&own) = rank.get(module.as_str()) else { continue };
        for used in used_modules(&text) {
            if let Some(&other) = rank.get(used.as_str()).filter(|&&other| other > own) {
                upward.push(format!("{} ({own}) uses {used} ({other})", path.display()));
            }
        }
    }
    assert!(upward.is_empty(), "{upward:#?}");
}

#[test]
fn every_module_of_the_library_has_a_layer() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let unplaced: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .filter_map(|rest| rest.strip_suffix(';'))
        .filter(|module| !LAYERS.contains(module))
        .collect();
    assert!(unplaced.is_empty(), "{unplaced:?}");
}

#[test]
fn a_driver_is_named_by_its_adapter_alone() {
    for (driver, home) in DRIVERS {
        for (path, text) in sources() {
            let at_home = path.to_string_lossy().starts_with(home);
            // A re-export of the adapter's own module, which bears the driver's name, is none.
            let code = text.lines().map(str::trim_start);
            let code = code.filter(|line| !line.starts_with("//") && !line.starts_with("pub use "));
            let named = code.map(|line| format!(" {line}")).any(|line| {
                line.contains(&format!(" {driver}::")) || line.contains(&format!("({driver}::"))
            });
            assert!(at_home || !named, "{} names {driver}", path.display());
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every source file below `src`, by its path from the root, without its tests.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    collect(&root().join("src"), &mut found);
    assert!(found.len() > 30, "the sources were not found");
    found
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            found.push((path.strip_prefix(root()).unwrap().to_owned(), code.to_owned()));
        }
    }
}

fn module_of(path: &Path) -> String {
    let first = path.components().nth(1).unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The top-level modules that a text names by `crate::`.
fn used_modules(text: &str) -> Vec<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| line.split("crate::").skip(1))
        .map(|rest| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect())
        .collect()
}
