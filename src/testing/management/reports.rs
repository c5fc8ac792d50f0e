//! How revisions end.

use super::Fixture;
use super::world::{
    LATER, NOW, applied, directory, ensure, fail, failed, key, open_names, put, report, rotate,
    rotation, succeed, with_plain,
};
use crate::management::{Outcome, RotateCredential};
use crate::secret::ClientSecret;

/// It is open work until then, also when it has no targets.
pub async fn a_settled_revision_is_reported_once(fixture: &dyn Fixture) {
    directory(fixture, &["b"]).await;
    ensure(fixture, put("a", 7, '1', &["b"])).await;
    ensure(fixture, put("none", 7, '1', &[])).await;
    assert_eq!(open_names(fixture, NOW).await, ["a>b", "none!0/0"]);
    succeed(fixture, applied("a", "b", 7)).await;
    assert_eq!(open_names(fixture, NOW).await, ["a!1/0", "none!0/0"]);
    report(fixture, "a", 7, Outcome::Success).await;
    report(fixture, "a", 7, Outcome::Success).await;
    report(fixture, "none", 7, Outcome::Success).await;
    assert!(open_names(fixture, LATER).await.is_empty());
    let stored = fixture.credential(&key("a")).await.unwrap();
    assert_eq!(stored.reported, Some(Outcome::Success));
    rotate(fixture, "a", 8, '2').await;
    assert_eq!(fixture.credential(&key("a")).await.unwrap().reported, None);
    assert_eq!(open_names(fixture, NOW).await, ["a>b"]);
}

/// Above all it does not clear a newer plain secret.
pub async fn a_report_of_another_revision_changes_nothing(fixture: &dyn Fixture) {
    directory(fixture, &["b"]).await;
    ensure(fixture, with_plain(put("a", 7, '1', &["b"]), "first")).await;
    let plain_secret = Some(ClientSecret::new("second").unwrap());
    let request = RotateCredential { plain_secret, ..rotation("a", 8, '2') };
    fixture.worker(0).rotate_credential_secret(request).await.unwrap();
    for number in [7, 9] {
        report(fixture, "a", number, Outcome::Success).await;
        let stored = fixture.credential(&key("a")).await.unwrap();
        assert!(stored.keeps_plain_secret);
        assert_eq!(stored.reported, None);
    }
    report(fixture, "nobody", 7, Outcome::Success).await;
    assert_eq!(fixture.credential(&key("nobody")).await, None);
}

/// It was kept for the time of the propagation alone.
pub async fn a_report_clears_the_plain_secret(fixture: &dyn Fixture) {
    ensure(fixture, with_plain(put("a", 7, '1', &[]), "plain")).await;
    assert!(fixture.credential(&key("a")).await.unwrap().keeps_plain_secret);
    report(fixture, "a", 7, Outcome::Success).await;
    assert!(!fixture.credential(&key("a")).await.unwrap().keeps_plain_secret);
    ensure(fixture, with_plain(put("a", 8, '1', &[]), "plain")).await;
    rotate(fixture, "a", 9, '2').await;
    assert!(!fixture.credential(&key("a")).await.unwrap().keeps_plain_secret);
}

/// The last word is the true one.
pub async fn a_late_success_may_change_the_outcome(fixture: &dyn Fixture) {
    directory(fixture, &["b"]).await;
    ensure(fixture, put("a", 7, '1', &["b"])).await;
    fail(fixture, failed("a", "b", 7, None)).await;
    report(fixture, "a", 7, Outcome::Error).await;
    succeed(fixture, applied("a", "b", 7)).await;
    report(fixture, "a", 7, Outcome::Success).await;
    let stored = fixture.credential(&key("a")).await.unwrap();
    assert_eq!(stored.reported, Some(Outcome::Success));
}

/// Rows of a revision only get better: a worse outcome was counted earlier and comes late.
pub async fn of_several_outcomes_the_best_stays(fixture: &dyn Fixture) {
    directory(fixture, &["b"]).await;
    ensure(fixture, put("a", 7, '1', &["b"])).await;
    succeed(fixture, applied("a", "b", 7)).await;
    let steps = [
        (Outcome::Error, Outcome::Error),
        (Outcome::Partial, Outcome::Partial),
        (Outcome::Error, Outcome::Partial),
        (Outcome::Success, Outcome::Success),
        (Outcome::Partial, Outcome::Success),
        (Outcome::Error, Outcome::Success),
    ];
    for (reported, expected) in steps {
        report(fixture, "a", 7, reported).await;
        let stored = fixture.credential(&key("a")).await.unwrap();
        assert_eq!(stored.reported, Some(expected), "after {reported}");
    }
    assert!(open_names(fixture, LATER).await.is_empty());
}
