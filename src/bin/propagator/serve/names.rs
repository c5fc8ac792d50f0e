//! Names of secrets, as the routes of the sidecar call credentials.

use hmac_propagator::id::{ClientId, CredentialKey, Track};

use super::problem::Problem;

/// What a name looks like.
pub(crate) const RULE: &str = "^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$";

/// The credential that a name stands for.
///
/// # Errors
/// 400 when it breaks the rule.
pub(crate) fn credential(field: &str, name: &str, track: Track) -> Result<CredentialKey, Problem> {
    let wrong = || Problem::bad_field(format!("{field}: expected {RULE}"));
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !first || !rest || name.len() > 128 {
        return Err(wrong());
    }
    let client_id = ClientId::new(name).map_err(|_| wrong())?;
    Ok(CredentialKey::new(track, client_id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_the_rule() {
        let fits = |name: &str| credential("name", name, Track::Http).is_ok();
        for good in ["a", "0", "A.b_c-d", &"x".repeat(128)] {
            assert!(fits(good), "{good}");
        }
        for bad in ["", ".a", "_a", "-a", "a b", "a/b", "a:b", "é", "a\n", &"x".repeat(129)] {
            assert!(!fits(bad), "{bad}");
        }
    }
}
