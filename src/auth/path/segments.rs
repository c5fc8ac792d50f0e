//! The path states of the URL parser: segments, dot segments, drive letters.

use super::{Scheme, encode};

/// Appends the path of what follows the host.
pub(super) fn push(out: &mut String, path: &str, scheme: Scheme) {
    let separators: &[char] = match scheme {
        Scheme::Web | Scheme::File => &['/', '\\'],
        Scheme::Other => &['/'],
    };
    let Some(relative) = path.strip_prefix(separators) else {
        return match scheme {
            Scheme::Web | Scheme::File => push_relative(out, path, scheme, separators),
            Scheme::Other => encode::push(out, path, &encode::OPAQUE),
        };
    };
    push_relative(out, relative, scheme, separators);
}

/// Whether the text is a letter and a colon or a bar.
pub(super) fn is_drive_letter(text: &str) -> bool {
    matches!(text.as_bytes(), [letter, b':' | b'|'] if letter.is_ascii_alphabetic())
}

fn push_relative(out: &mut String, path: &str, scheme: Scheme, separators: &[char]) {
    if is_kept_by_node(path, scheme, separators) {
        out.push('/');
        out.push_str(path);
        return;
    }
    let mut segments = path.split(separators).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match dot_count(segment) {
            // A dot segment at the end leaves an empty last segment: `/a/.` is `/a/`.
            1 if is_last => out.push('/'),
            1 => {}
            2 => {
                let removed = remove_last(out, scheme);
                // The standard knows no such exception; the URL parser of Node 20 does.
                if is_last && (removed || scheme != Scheme::Other) {
                    out.push('/');
                }
            }
            _ => push_segment(out, segment, scheme),
        }
    }
}

/// The URL parser of Node 20 looks only at the first `/.` of a path without characters to encode:
/// when that begins an ordinary segment (`/a/.b/../c`), the path stays as it is, later dot segments
/// included. The standard would resolve them, but deployed peers sign this.
fn is_kept_by_node(path: &str, scheme: Scheme, separators: &[char]) -> bool {
    let drive = path.split(separators).next().is_some_and(is_drive_letter);
    if path.starts_with('.') || (scheme == Scheme::File && drive) {
        return false;
    }
    let plain = path.bytes().all(|b| encode::PATH[usize::from(b)] && b != b'%');
    let hidden = path
        .find("/.")
        .is_some_and(|at| !matches!(path.as_bytes().get(at + 2), None | Some(b'.' | b'/')));
    plain && hidden
}

/// 1 or 2 for a dot segment, where `%2e` is a dot as well; 0 for every other segment.
fn dot_count(segment: &str) -> usize {
    let mut rest = segment.as_bytes();
    for count in 0..=2 {
        rest = match rest {
            [] => return count,
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => rest,
            _ => return 0,
        };
    }
    0
}

/// Takes the last segment away, unless it is alone and begins as a drive does. Whether there was one
/// to take.
fn remove_last(out: &mut String, scheme: Scheme) -> bool {
    let Some(slash) = out.rfind('/') else {
        return false;
    };
    // The standard asks for a drive and nothing more. Node 20 keeps `C:x` as well.
    let drive =
        |path: &[u8]| matches!(path, [b'/', letter, b':', ..] if letter.is_ascii_alphabetic());
    if scheme == Scheme::File && slash == 0 && drive(out.as_bytes()) {
        return false;
    }
    out.truncate(slash);
    true
}

fn push_segment(out: &mut String, segment: &str, scheme: Scheme) {
    let drive = scheme == Scheme::File && out.is_empty() && is_drive_letter(segment);
    out.push('/');
    if drive {
        out.push_str(&segment[..1]);
        out.push(':');
    } else {
        encode::push(out, segment, &encode::SEGMENT);
    }
}
