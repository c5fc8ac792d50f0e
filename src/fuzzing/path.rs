//! Paths of requests.

use url::Url;

use crate::auth::CanonicalPath;

/// A path is plain ASCII, is its own canonical path, and is what the `url` crate makes of it, apart
/// from the forms where that crate and deployed peers are known to differ.
pub fn path(target: &[u8]) {
    let Ok(target) = std::str::from_utf8(target) else { return };
    let Ok(path) = CanonicalPath::new(target) else {
        assert!(names_a_host(target), "only a host can be wrong: {target:?}");
        return;
    };
    let text = path.as_str();
    assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
    assert!(text.len() <= 3 * target.len() + 1, "{} of {}", text.len(), target.len());
    assert_eq!(path.clone().into_owned(), path);
    if is_local(target) {
        assert!(text.starts_with('/'), "{text:?}");
        // Dots may leave two slashes in front, and what follows those is read as a host.
        if !text.starts_with("//") {
            assert_eq!(CanonicalPath::new(text).as_ref(), Ok(&path));
        }
        if is_common_ground(target) {
            assert_eq!(Ok(text), as_url(target).as_deref());
        }
    }
}

fn names_a_host(target: &str) -> bool {
    let bare: String = target.chars().filter(|c| !matches!(c, '\t' | '\n' | '\r')).collect();
    bare.contains(':') || bare.replace('\\', "/").contains("//")
}

/// A path without a scheme and without a host.
fn is_local(target: &str) -> bool {
    let mut characters = target.chars().filter(|c| !matches!(c, '\t' | '\n' | '\r'));
    characters.next() == Some('/') && !matches!(characters.next(), Some('/' | '\\'))
}

/// Not: what the crate takes for a drive, `^`, which it encodes, and dot segments behind an
/// ordinary segment that begins with a dot, which deployed peers keep.
fn is_common_ground(target: &str) -> bool {
    let hidden = target.split("/.").skip(1).any(|rest| !rest.is_empty() && !rest.starts_with('/'));
    !target.contains(['^', ':', '|']) && !hidden
}

fn as_url(target: &str) -> Result<String, url::ParseError> {
    let base = Url::parse("http://localhost")?;
    let url = base.join(target)?;
    let query = url.query().filter(|query| !query.is_empty());
    Ok(query.map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path())))
}
