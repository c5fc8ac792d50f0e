//! The documents keep to what they say of themselves.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = |directory: &Path| {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|e| e == "md")).collect::<Vec<_>>()
    };
    let mut found = listed(root);
    found.extend(listed(&root.join("docs")));
    found.extend(listed(&root.join("poc")));
    found
}

/// The targets of `[text](target)`, outside blocks of code.
fn links(text: &str) -> Vec<String> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        in_code ^= line.starts_with("```");
        if in_code {
            continue;
        }
        found.extend(line.split("](").skip(1).filter_map(|rest| {
            let (target, _) = rest.split_once(')')?;
            Some(target.to_owned())
        }));
    }
    found
}

#[test]
fn every_relative_link_leads_to_a_file() {
    let documents = documents();
    let mut seen = 0;
    for document in &documents {
        for link in links(&fs::read_to_string(document).unwrap()) {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let file = link.split('#').next().unwrap();
            let target = document.parent().unwrap().join(file);
            assert!(target.exists(), "{}: {link}", document.display());
            seen += 1;
        }
    }
    assert!(documents.len() >= 7 && seen >= 8, "{} documents, {seen} links", documents.len());
}

#[test]
fn the_changes_name_the_version_of_the_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let changes = fs::read_to_string(root.join("CHANGELOG.md")).unwrap();
    assert!(changes.contains(&format!("\n## {}", env!("CARGO_PKG_VERSION"))));
}

/// A name in backquotes of five words and more is a test.
#[test]
fn every_test_that_the_page_about_testing_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/testing.md")).unwrap();
    let named: Vec<&str> =
        page.split('`').filter(|part| is_name(part) && part.matches('_').count() >= 4).collect();
    assert!(named.len() > 30, "{named:?}");
    let mut sources = String::new();
    for directory in ["src", "tests"] {
        gather(&root.join(directory), &mut sources);
    }
    let missing: Vec<_> =
        named.iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn is_name(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn gather(directory: &Path, sources: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}
