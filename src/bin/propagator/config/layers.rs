//! What was given for each key, by the strongest source that gives it: flags, then the environment,
//! then the file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use toml::Value;
use zeroize::Zeroizing;

use super::arguments::ConfigArgs;
use super::hidden::Hidden;
use super::keys::{self, Fallback, Key};
use super::problem::{Problems, Source};

/// The environment, as a function so that tests need not change their own.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The content of files, likewise.
pub(super) type Files<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// A value as it was given.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) value: Raw,
    pub(super) source: Source,
}

/// Lists and tables can only be told apart in a file.
#[derive(Clone, Debug)]
pub(super) enum Raw {
    Text(Hidden),
    List(Vec<Hidden>),
    Pairs(Vec<(String, Hidden)>),
}

/// What a source gives for a key: the value, or for a secret the file that holds it.
type Found = (Option<Raw>, Option<String>);

/// One source.
struct Layer<'a> {
    source: Source,
    value: Box<dyn Fn(&Key) -> Found + 'a>,
}

/// What was given. Values that cannot be had at all are noted; which ones are wrong is not known yet.
pub(super) fn gather(
    arguments: &ConfigArgs,
    environment: Environment<'_>,
    files: Files<'_>,
    problems: &mut Problems,
) -> BTreeMap<&'static str, Given> {
    let table = arguments.file.as_deref().map(|path| (path, read(path, files, problems)));
    refuse_other_than_text(environment, problems);
    let mut layers = vec![flags(arguments), variables(environment)];
    if let Some((path, table)) = &table {
        layers.push(file(path, table));
    }
    let mut found = BTreeMap::new();
    for key in keys::ALL {
        if let Some(given) = strongest(key, &layers, files, problems) {
            found.insert(key.name, given);
        } else if let Fallback::Text(text) = key.default {
            let value = Raw::Text(Hidden::new(text));
            found.insert(key.name, Given { value, source: Source::Default });
        }
    }
    found
}

fn strongest(
    key: &Key,
    layers: &[Layer<'_>],
    files: Files<'_>,
    problems: &mut Problems,
) -> Option<Given> {
    layers.iter().find_map(|layer| {
        let source = layer.source.clone();
        let value = match (layer.value)(key) {
            (None, None) => return None,
            (Some(value), None) => value,
            (None, Some(path)) => {
                let content = files(Path::new(&path)).map(Zeroizing::new);
                secret_from(key, &source, &path, content, problems)
            }
            (Some(value), Some(_)) => {
                let both = format!("given twice, the second time as {}", key.file_variable());
                problems.about(key, &source, both);
                value
            }
        };
        Some(Given { value, source })
    })
}

/// A file that is unreadable or empty is a problem of its own; what stands for its content is never
/// used. An empty one is a mount that failed: it must not pass for an empty pepper.
fn secret_from(
    key: &Key,
    source: &Source,
    path: &str,
    content: io::Result<Zeroizing<String>>,
    problems: &mut Problems,
) -> Raw {
    let text = content.as_ref().map_or("", |text| text.trim_end_matches(['\r', '\n']));
    match &content {
        Ok(_) if text.is_empty() => {
            problems.about(key, source, format_args!("the file {path} is empty"));
        }
        Ok(_) => {}
        Err(error) => {
            problems.about(key, source, format_args!("the file {path} cannot be read: {error}"));
        }
    }
    Raw::Text(Hidden::new(text))
}

fn flags(arguments: &ConfigArgs) -> Layer<'_> {
    let value = |key: &Key| {
        let given = arguments.flags.get(key.name).cloned();
        if key.secret { (None, given) } else { (given.map(text), None) }
    };
    Layer { source: Source::Flag, value: Box::new(value) }
}

/// A value that is not UTF-8 would otherwise count as none.
fn refuse_other_than_text(environment: Environment<'_>, problems: &mut Problems) {
    let files = keys::ALL.iter().filter(|key| key.secret).map(|key| key.file_variable());
    let names = keys::ALL.iter().map(|key| key.name.to_owned()).chain(files);
    for name in names.filter(|name| environment(name).is_some_and(|v| v.to_str().is_none())) {
        problems.note(format!("{name} (environment): expected UTF-8 text"));
    }
}

/// An empty variable counts as none: that is how compose files unset one.
fn variables(environment: Environment<'_>) -> Layer<'_> {
    let get = |name: &str| {
        environment(name)
            .and_then(|value| value.into_string().ok())
            .filter(|value| !value.is_empty())
    };
    let value = move |key: &Key| {
        let file = if key.secret { get(&key.file_variable()) } else { None };
        (get(key.name).map(text), file)
    };
    Layer { source: Source::Environment, value: Box::new(value) }
}

fn file<'a>(path: &Path, table: &'a toml::Table) -> Layer<'a> {
    let value = |key: &Key| {
        let file =
            if key.secret { table.get(&file_key(key)).and_then(Value::as_str) } else { None };
        (table.get(&key.in_file()).and_then(raw), file.map(str::to_owned))
    };
    Layer { source: Source::File(path.to_owned()), value: Box::new(value) }
}

fn file_key(key: &Key) -> String {
    format!("{}_file", key.in_file())
}

fn text(text: String) -> Raw {
    Raw::Text(Hidden::new(text))
}

/// The file's keys. Those that are unknown, or of a kind that no key has, are noted and left out.
fn read(path: &Path, files: Files<'_>, problems: &mut Problems) -> toml::Table {
    let place = path.display();
    let content = match files(path).map(Zeroizing::new) {
        Ok(content) => content,
        Err(error) => {
            problems.note(format!("the file {place} cannot be read: {error}"));
            return toml::Table::new();
        }
    };
    let mut table: toml::Table = match toml::from_str(&content) {
        Ok(table) => table,
        Err(error) => {
            // The parser would show the line, and with it perhaps a secret.
            let line = error.span().map(|span| line_of(&content, span.start));
            let line = line.map_or_else(String::new, |line| format!(" at line {line}"));
            problems.note(format!("the file {place} is not valid TOML{line}"));
            return toml::Table::new();
        }
    };
    table.retain(|name, value| {
        let known = known(name, value);
        if let Err(what) = known {
            problems.note(format!("{name} (file {place}): {what}"));
        }
        known.is_ok()
    });
    table
}

fn line_of(content: &str, offset: usize) -> usize {
    content.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

fn known(name: &str, value: &Value) -> Result<(), &'static str> {
    if keys::ALL.iter().any(|key| key.secret && file_key(key) == name) {
        return value.as_str().map(drop).ok_or("expected the path of a file");
    }
    let key = keys::ALL.iter().find(|key| key.in_file() == name).ok_or("unknown key")?;
    raw(value)
        .map(drop)
        .ok_or(key.expects)
        .map_err(|_| "expected a text, a number, true, false or a list of texts")
}

fn raw(value: &Value) -> Option<Raw> {
    match value {
        Value::String(value) => Some(text(value.clone())),
        Value::Integer(value) => Some(text(value.to_string())),
        Value::Boolean(value) => Some(text(value.to_string())),
        Value::Array(values) => {
            let texts = values.iter().map(|value| value.as_str().map(Hidden::new));
            texts.collect::<Option<_>>().map(Raw::List)
        }
        Value::Table(table) => {
            let pairs = table
                .iter()
                .map(|(name, value)| Some((name.clone(), Hidden::new(value.as_str()?))));
            pairs.collect::<Option<_>>().map(Raw::Pairs)
        }
        Value::Float(_) | Value::Datetime(_) => None,
    }
}
