//! What a check found.

use serde_json::{Value, json};

#[derive(Debug)]
pub(super) struct Finding {
    /// Which check.
    pub(super) check: &'static str,
    pub(super) state: State,
    /// What it is about, where there are several.
    pub(super) subject: Option<String>,
    pub(super) what: String,
    /// What to do.
    pub(super) advice: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Fine,
    Wrong,
    /// It cannot be checked, or there is nothing to check.
    Skipped,
}

impl State {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Wrong => "WRONG",
            Self::Skipped => "skipped",
        }
    }
}

impl Finding {
    pub(super) fn fine(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, state: State::Fine, subject: None, what: what.into(), advice: None }
    }

    pub(super) fn wrong(
        check: &'static str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        let advice = Some(advice.into());
        Self { check, state: State::Wrong, subject: None, what: what.into(), advice }
    }

    pub(super) fn skipped(check: &'static str, what: impl Into<String>) -> Self {
        Self { state: State::Skipped, ..Self::fine(check, what) }
    }

    pub(super) fn of(mut self, subject: impl ToString) -> Self {
        self.subject = Some(subject.to_string());
        self
    }

    pub(super) fn about(&self) -> String {
        self.subject.clone().unwrap_or_else(|| "-".into())
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "check": self.check,
            "state": self.state.word().to_ascii_lowercase(),
            "subject": self.subject,
            "what": self.what,
            "advice": self.advice,
        })
    }
}
