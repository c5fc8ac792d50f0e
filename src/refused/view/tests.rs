use proptest::prelude::*;

use super::*;

const OWN: &str = "own secret of this peer";
const HASH: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn shown(body: &str) -> Option<Value> {
    view(body.as_bytes(), &mut Guard::new([OWN]))
}

fn event() -> Value {
    json!({
        "eventId": "3f0c9f52-6d0e-4a54-9f8e-1f2f4c2d7b11",
        "ts": 1_790_000_000_000_u64,
        "propagationSecret": OWN,
        "senderAmqpQueue": "authority",
        "op": "credential.update",
        "track": "http",
        "clientId": "webshop",
        "payload": {"secretHash": HASH, "allowedIps": ["10.0.0.0/8"], "expiresAt": null},
    })
}

fn answer() -> Value {
    json!({
        "eventId": "a8a4c1de-7c8e-4b0c-8b5f-0d8c1f6f3a0e",
        "ts": 1_790_000_000_123_u64,
        "propagationSecret": OWN,
        "senderAmqpQueue": "orders",
        "op": "credential.ack",
        "ackEventId": "3f0c9f52-6d0e-4a54-9f8e-1f2f4c2d7b11",
        "ackResult": "error",
        "ackReason": "it says anything",
        "held": {"ts": 1.5, "senderAmqpQueue": "other"},
    })
}

#[test]
fn an_event_is_shown_with_its_secrets_taken_out() {
    let mut expected = event();
    expected["propagationSecret"] = json!({"redacted": "string of 23 characters"});
    expected["payload"]["secretHash"] = json!({"redacted": "string of 64 characters"});
    assert_eq!(shown(&event().to_string()), Some(expected));
}

#[test]
fn of_an_answer_free_text_is_not_shown() {
    let mut expected = answer();
    expected["propagationSecret"] = json!({"redacted": "string of 23 characters"});
    expected["ackReason"] = json!({"redacted": "string of 16 characters"});
    assert_eq!(shown(&answer().to_string()), Some(expected));
}

#[test]
fn values_that_are_not_what_their_field_is_for_are_described() {
    for (field, value, described) in [
        ("eventId", json!("some id"), "string of 7 characters"),
        ("eventId", json!(7), "number"),
        ("op", json!("credential.steal"), "string of 16 characters"),
        ("track", json!(["http"]), "array of 1 values"),
        ("clientId", json!("a\nb"), "string of 3 characters"),
        ("clientId", json!("x".repeat(257)), "string of 257 characters"),
        ("clientId", json!(true), "true or false"),
        ("senderAmqpQueue", json!("../x"), "string of 4 characters"),
        ("payload", json!("text"), "string of 4 characters"),
        ("ts", json!({"a": 1}), "object of 1 fields"),
        ("propagationSecret", json!(null), "null"),
    ] {
        let mut event = event();
        event[field] = value;
        let shown = shown(&event.to_string()).unwrap_or_default();
        assert_eq!(shown[field], json!({ "redacted": described }), "{event}");
    }
}

#[test]
fn fields_that_the_contract_does_not_have_are_named_and_not_shown() {
    let mut event = event();
    event["secret_hash"] = HASH.into();
    event["two words"] = "hidden".into();
    event[HASH] = 1.into();
    event["payload"]["plain"] = "hidden".into();
    let shown = shown(&event.to_string()).unwrap_or_default();
    assert_eq!(shown["unknownFields"], json!(["secret_hash"]));
    assert_eq!(shown["unknownFieldsNotNamed"], 2);
    assert_eq!(shown["payload"]["unknownFieldsNotNamed"], 1);
    assert!(!shown.to_string().contains("hidden"));
}

#[test]
fn the_last_of_duplicate_keys_is_shown_and_each_counts_as_a_secret() {
    let body = r#"{"propagationSecret":"first of two","propagationSecret":"","clientId":"first of two","op":"x","op":"credential.ack"}"#;
    assert_eq!(
        shown(body),
        Some(json!({
            "propagationSecret": {"redacted": "string of 0 characters"},
            "op": "credential.ack",
            "clientId": {"redacted": "string of 12 characters"},
            "repeatedFields": ["propagationSecret", "op"],
        }))
    );
}

#[test]
fn nothing_is_shown_of_what_is_no_object_or_too_long_to_look_into() {
    let long = json!({"clientId": "a", "more": "x".repeat(LONGEST)}).to_string();
    let deep = format!(r#"{{"payload":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for body in ["", "null", "[]", "7", "\"text\"", "{", "{\"a\":1}x", &long, &deep] {
        assert_eq!(shown(body), None);
    }
    assert_eq!(view(b"{\"clientId\":\"\xff\"}", &mut Guard::new([])), None);
    // Unknown fields may nest as they like: nobody reads them.
    let odd =
        format!(r#"{{"op":"credential.ack","x":{}1{}}}"#, "[".repeat(9_000), "]".repeat(9_000));
    assert_eq!(shown(&odd).unwrap_or_default()["unknownFields"], json!(["x"]));
}

#[test]
fn what_is_shown_stays_small_whatever_comes() {
    let mut event = event();
    event["clientId"] = "\\".repeat(256).into();
    event["senderAmqpQueue"] = "q".repeat(200).into();
    let rule = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff/128";
    event["payload"]["allowedIps"] = vec![rule; 1000].into();
    for letter in 'a'..='z' {
        event[letter.to_string().repeat(LONGEST_NAME)] = 1.into();
    }
    let shown = shown(&event.to_string()).unwrap_or_default();
    assert!(shown.to_string().len() <= MOST_BYTES);
    assert_eq!(shown["payload"]["allowedIps"][MOST_RULES], json!({"redacted": "980 more"}));
    assert_eq!(shown["unknownFieldsNotNamed"], 10);
}

/// A secret in a place of a message.
#[derive(Clone, Debug)]
enum Place {
    Value(String),
    Part(String),
    Name,
    Nested(String),
    Duplicate(String, bool),
    Payload(String),
    Rule,
}

fn places() -> impl Strategy<Value = Place> {
    let fields: Vec<String> = MESSAGE
        .iter()
        .chain(PAYLOAD)
        .map(|(name, _)| (*name).to_owned())
        .chain(["password".into(), "x".into()])
        .collect();
    let field = proptest::sample::select(fields);
    prop_oneof![
        field.clone().prop_map(Place::Value),
        field.clone().prop_map(Place::Part),
        Just(Place::Name),
        field.clone().prop_map(Place::Nested),
        (field.clone(), any::<bool>()).prop_map(|(field, last)| Place::Duplicate(field, last)),
        field.prop_map(Place::Payload),
        Just(Place::Rule),
    ]
}

/// Texts that others would take for a name, a number, an id or a key.
fn secrets() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{8,20}",
        "[A-Za-z0-9-]{8,40}",
        "[0-9a-f]{64}",
        "[1-9][0-9]{8,14}",
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "[ -~]{8,60}",
        "\\PC{8,30}",
    ]
    // What stands in every view is no secret.
    .prop_filter("words of the contract", |secret| {
        let lower = secret.to_lowercase();
        let words =
            format!("{}{}redacted string of characters unknownfieldsnotnamed", event(), answer());
        !words.to_lowercase().contains(&lower)
    })
}

fn planted(base: &Value, secret: &str, place: &Place) -> String {
    let mut message = base.clone();
    let number = secret.parse::<u64>().map(Value::from);
    match place {
        Place::Value(field) => message[field] = number.unwrap_or_else(|_| secret.into()),
        Place::Part(field) => message[field] = format!("a {secret}!").into(),
        Place::Name => message[secret] = "a".into(),
        Place::Nested(field) => {
            message[field] = json!({"a": [1, {secret: [secret]}], "ts": secret})
        }
        Place::Payload(field) => message["payload"] = json!({field: secret, secret: 1}),
        Place::Rule => message["payload"] = json!({"allowedIps": ["::1", secret]}),
        Place::Duplicate(field, last) => {
            let text = message.to_string();
            let planted = format!("{}:{}", json!(field), json!(secret));
            return match last {
                true => format!("{},{planted}}}", &text[..text.len() - 1]),
                false => format!("{{{planted},{}", &text[1..]),
            };
        }
    }
    message.to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn this_peers_secret_is_never_shown_wherever_it_stands(
        secret in secrets(),
        places in proptest::collection::vec(places(), 1..3),
        answers in any::<bool>(),
    ) {
        let base = if answers { answer() } else { event() };
        for place in &places {
            let body = planted(&base, &secret, place);
            let shown = view(body.as_bytes(), &mut Guard::new([secret.as_str()]));
            prop_assert!(shown.is_some(), "{body}");
            let texts = texts(&shown.unwrap_or_default());
            let lower = secret.to_lowercase();
            prop_assert!(!texts.iter().any(|text| text.to_lowercase().contains(&lower)), "{texts:?}");
        }
    }

    #[test]
    fn a_foreign_secret_is_not_shown_although_it_stands_in_other_fields_too(
        secret in secrets(),
        other in places(),
        in_hash in any::<bool>(),
    ) {
        let mut base = event();
        if in_hash {
            base["payload"]["secretHash"] = secret.as_str().into();
        } else {
            base["propagationSecret"] = secret.as_str().into();
        }
        let takes_it_away = matches!(
            &other,
            Place::Payload(_) | Place::Rule if in_hash
        ) || matches!(
            &other,
            Place::Value(field) | Place::Part(field) | Place::Nested(field)
                if field == "payload" || field == "propagationSecret"
        );
        // With the secret nowhere but in the other place nobody could tell that it is one.
        prop_assume!(!takes_it_away);
        let body = planted(&base, &secret, &other);
        let shown = view(body.as_bytes(), &mut Guard::new([OWN]));
        let texts = texts(&shown.unwrap_or_default());
        let lower = secret.to_lowercase();
        prop_assert!(!texts.iter().any(|text| text.to_lowercase().contains(&lower)), "{texts:?}");
    }

    #[test]
    fn keys_and_hashes_are_not_shown_although_nobody_knows_them(
        secret in prop_oneof!["[0-9a-f]{64}", "[0-9A-F]{32,64}"],
        place in places(),
    ) {
        let shown = view(planted(&event(), &secret, &place).as_bytes(), &mut Guard::new([OWN]));
        let texts = texts(&shown.unwrap_or_default());
        prop_assert!(!texts.iter().any(|text| text.contains(&secret)), "{texts:?}");
    }

    #[test]
    fn any_bytes_show_nothing_or_little(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let shown = view(&body, &mut Guard::new([OWN]));
        prop_assert!(shown.is_none_or(|shown| shown.to_string().len() <= MOST_BYTES));
    }
}

/// All texts, names and numbers within.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let inner =
                |(name, value): (&String, &Value)| [vec![name.clone()], texts(value)].concat();
            fields.iter().flat_map(inner).collect()
        }
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::String(text) => vec![text.clone()],
        other => vec![other.to_string()],
    }
}
