//! What can be done with a mesh that stays up.

use std::process;

use crate::Result;
use crate::mesh::{ALL, AUTHORITY, CONSUMER, FULL, Mesh};
use crate::page::Page;

/// Says where everything is and what to try.
///
/// # Errors
/// When a peer is missing.
pub fn invite(mesh: &Mesh, page: &Page) -> Result<()> {
    println!("\nThe mesh stays up until Ctrl-C, or kill -INT {}.", process::id());
    let mut rows = vec![["peer", "page", "token in"].map(str::to_owned)];
    for name in FULL {
        let token = mesh.seat(name)?.token_file().display().to_string();
        rows.push([name.to_owned(), mesh.url(name)?, token]);
    }
    page.table(&rows);
    let mut rows = vec![["peer", "HTTP", "log"].map(str::to_owned)];
    for name in ALL {
        let log = mesh.seat(name)?.log().display().to_string();
        rows.push([name.to_owned(), mesh.url(name)?, log]);
    }
    page.table(&rows);
    println!("Try, for example:\n");
    for line in lines(mesh)? {
        println!("  {line}");
    }
    Ok(())
}

fn lines(mesh: &Mesh) -> Result<Vec<String>> {
    let authority = mesh.url(AUTHORITY)?;
    let header = mesh.seat(AUTHORITY)?.authorization().display().to_string();
    let curl = format!("curl -sS -H @{header}");
    let json = "-H 'Content-Type: application/json' -d";
    let target = mesh.url(CONSUMER)?;
    Ok(vec![
        format!("{curl} {authority}/admin/state"),
        format!(
            "{curl} {json} '{{\"clientId\":\"mine\",\"targets\":[\"{CONSUMER}\"]}}' {authority}/admin/ensure"
        ),
        format!(
            "{curl} {json} '{{\"clientId\":\"mine\",\"target\":\"{target}\"}}' {authority}/admin/call-target"
        ),
        format!("{curl} {json} '{{\"clientId\":\"mine\"}}' {authority}/admin/rotate"),
        format!("{curl} -N {authority}/events"),
        format!("{curl} {authority}/metrics"),
        format!(
            "{curl} {json} '{{\"clientId\":\"mine\",\"targets\":[]}}' {authority}/admin/revoke"
        ),
    ])
}
