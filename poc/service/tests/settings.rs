//! What the service says when it is not told enough.

use std::process::Command;

#[test]
fn what_is_missing_is_named_and_what_was_given_is_not_repeated() {
    let run = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_poc-service"));
        let output = command.env_clear().envs(variables.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(run(&[]), "poc-service: AMQP_PASSWORD: is required\n");
    let hidden = [("AMQP_PASSWORD", "hidden"), ("AMQP_PORT", "hidden")];
    assert_eq!(run(&hidden), "poc-service: AMQP_PORT: expected a port\n");
    let nowhere = [("AMQP_PASSWORD_FILE", "/nowhere")];
    assert!(run(&nowhere).starts_with("poc-service: AMQP_PASSWORD_FILE: /nowhere cannot be read"));
}
