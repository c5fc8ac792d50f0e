use super::*;
use crate::refused::Guard;

const SECRET: &str = "own secret of this peer";

fn refused<'a>(body: &'a [u8], detail: &'a str, sender: Option<&'a PeerQueue>) -> Refused<'a> {
    Refused { at_ms: 7, reason: Refusal::Malformed, detail, sender, body, limit: 1 << 10 }
}

fn kept(refused: &Refused<'_>) -> RefusedMessage {
    Record::parse(&Record::of(refused, Guard::new([SECRET])).print()).unwrap()
}

#[test]
fn of_a_message_that_is_no_json_only_length_and_digest_are_kept() {
    let kept = kept(&refused(b"abc", "not a JSON object", None));
    assert_eq!(kept.bytes, 3);
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(kept.sha256.as_deref(), Some(digest));
    assert_eq!((kept.message, kept.at_ms, kept.number), (None, 7, 0));
}

#[test]
fn a_message_beyond_the_limit_is_not_even_read() {
    let body = format!("{{\"clientId\":\"a\"{}}}", " ".repeat(1 << 10));
    let kept = kept(&refused(body.as_bytes(), "too long", None));
    assert_eq!((kept.bytes, kept.sha256, kept.message), (body.len() as u64, None, None));
}

#[test]
fn what_comes_with_the_message_is_guarded_as_its_fields_are() {
    let sender = PeerQueue::new("own-secret").unwrap();
    let body = br#"{"propagationSecret":"own-secret"}"#;
    let detail = format!("{} and more", &SECRET[..12]);
    let kept = kept(&refused(body, &detail, Some(&sender)));
    assert_eq!((kept.sender, kept.detail.as_str()), (None, WITHHELD));
    let long = "é ".repeat(1000);
    assert_eq!(self::kept(&refused(b"", &long, None)).detail.chars().count(), MOST_DETAIL);
}

#[test]
fn each_reason_reads_back_and_what_is_no_record_is_none() {
    for reason in Refusal::ALL {
        let refused = Refused { reason, ..refused(b"", "", None) };
        assert_eq!(kept(&refused).reason, reason);
    }
    let unknown = Record::of(&refused(b"", "", None), Guard::new([])).print();
    assert!(Record::parse(&unknown.replace("malformed", "of_a_later_version")).is_none());
    assert!(Record::parse("x").is_none());
}

#[test]
fn a_record_is_small_whatever_was_refused() {
    let sender = PeerQueue::new("q".repeat(200)).unwrap();
    let text = serde_json::json!({"clientId": "\\".repeat(256)}).to_string();
    let body = Refused { limit: 1 << 20, ..refused(text.as_bytes(), &text, Some(&sender)) };
    assert!(Record::of(&body, Guard::new([])).print().len() < 6 << 10);
}
