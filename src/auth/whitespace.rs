//! White space as JavaScript's `trim` sees it, because the deployed peers trim with that.

/// Removes white space and line ends from both ends. Differs from [`str::trim`] in two characters:
/// the byte order mark goes, the C1 control NEL stays.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}')
}
