//! `docs/configuration.md` says what the table says.

use std::fmt::Write;

use super::keys::{ALL, Fallback, Group, Key};

const DOCUMENT: &str = include_str!("../../../../docs/configuration.md");

#[test]
fn the_document_has_every_key_as_the_table_has_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let begin = "<!-- keys: made from the table of the command, checked by a test -->\n";
    let end = "<!-- end of keys -->\n";
    let (before, rest) = DOCUMENT.split_once(begin).unwrap();
    let (written, after) = rest.split_once(end).unwrap();
    let made = tables();
    if std::env::var_os("PROPAGATOR_WRITE_DOCS").is_some() {
        std::fs::write(path, format!("{before}{begin}{made}{end}{after}")).unwrap();
        return;
    }
    assert_eq!(written, made, "write it anew: PROPAGATOR_WRITE_DOCS=1 and this test");
}

fn tables() -> String {
    let groups =
        [Group::Peer, Group::Broker, Group::Store, Group::Database, Group::Http, Group::Running];
    let mut text = String::new();
    for group in groups {
        let keys = ALL.iter().filter(|key| key.group == group);
        let _ = write!(
            text,
            "\n### {}\n\n| key | what it does | expected | default |\n",
            group.title()
        );
        text.push_str("|---|---|---|---|\n");
        for key in keys {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} |",
                name(key),
                key.help,
                key.expects,
                default(key)
            );
        }
    }
    assert_eq!(text.matches("\n| `").count(), ALL.len(), "a group is missing");
    text.push('\n');
    text
}

fn name(key: &Key) -> String {
    if key.secret { format!("`{}` (secret)", key.name) } else { format!("`{}`", key.name) }
}

fn default(key: &Key) -> String {
    match key.default {
        Fallback::Text("") => "empty".into(),
        Fallback::Text(text) => format!("`{text}`"),
        Fallback::Otherwise(words) => words.into(),
        Fallback::Required => "required".into(),
    }
}
