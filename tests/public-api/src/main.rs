//! Lists the public interface that a file of rustdoc's JSON describes, one item per line.

use std::error::Error;
use std::io::Write;

use public_api::Builder;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os().nth(1).ok_or("expected the path of rustdoc's JSON")?;
    // What every type implements through a blanket says nothing about this crate. What it derives, and whether it
    // is `Send`, are promises.
    let api = Builder::from_rustdoc_json(file).omit_blanket_impls(true).build()?;
    let mut out = std::io::stdout().lock();
    for item in api.items() {
        writeln!(out, "{item}")?;
    }
    Ok(())
}
