//! What a check found out: the row of `usnea doctor`, for people and for scripts.

use serde::Serialize;

/// How well something works here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should.
    Ok,
    /// It works, and costs something.
    Degraded,
    /// Not there.
    Missing,
}

impl Status {
    /// The word of the table and of the JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
        }
    }
}

/// Whether containers can run without it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weight {
    /// Yes, with a limit.
    #[default]
    Limit,
    /// No.
    Essential,
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub name: &'static str,
    /// How well it works.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What that costs the user, in one sentence.
    pub costs: Option<String>,
    /// The command that mends it.
    pub fix: Option<String>,
    /// Whether containers can run without it.
    #[serde(skip)]
    pub weight: Weight,
}

impl Finding {
    fn new(name: &'static str, status: Status, found: impl Into<String>) -> Self {
        let found = found.into();
        Self { name, status, found, costs: None, fix: None, weight: Weight::Limit }
    }

    /// It works.
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Status::Ok, found)
    }

    /// It works, and costs something.
    pub fn degraded(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Status::Degraded, found)
    }

    /// It is not there.
    pub fn missing(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, Status::Missing, found)
    }

    /// What it costs, in one plain sentence.
    pub fn costs(mut self, sentence: impl Into<String>) -> Self {
        self.costs = Some(sentence.into());
        self
    }

    /// The command that mends it, where one is known.
    pub fn fix(mut self, command: impl Into<Option<String>>) -> Self {
        self.fix = command.into();
        self
    }

    /// No container can run without it.
    pub fn essential(mut self) -> Self {
        self.weight = Weight::Essential;
        self
    }
}

/// What all findings come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is as it should be.
    Works,
    /// Containers run; not everything about them does.
    WorksWithLimits,
    /// No container can run: the finding that says why.
    DoesNotWork(String),
}

/// What all findings come to.
pub fn verdict(findings: &[Finding]) -> Verdict {
    let stops = |finding: &&Finding| {
        finding.weight == Weight::Essential && finding.status == Status::Missing
    };
    if let Some(finding) = findings.iter().find(stops) {
        return Verdict::DoesNotWork(format!("{}: {}", finding.name, finding.found));
    }
    if findings.iter().all(|finding| finding.status == Status::Ok) {
        return Verdict::Works;
    }
    Verdict::WorksWithLimits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_essential_stops_containers() {
        let fine = Finding::ok("a", "x").essential();
        let limit = Finding::missing("b", "y");
        let stop = Finding::missing("c", "z").essential();
        assert_eq!(verdict(&[]), Verdict::Works);
        assert_eq!(verdict(std::slice::from_ref(&fine)), Verdict::Works);
        assert_eq!(verdict(&[fine, limit.clone()]), Verdict::WorksWithLimits);
        assert_eq!(verdict(&[limit, stop]), Verdict::DoesNotWork("c: z".into()));
    }

    #[test]
    fn json_has_five_keys() {
        let finding = Finding::degraded("a", "x").costs("y").fix("z".to_owned());
        assert_eq!(
            serde_json::to_string(&finding).unwrap(),
            r#"{"name":"a","status":"degraded","found":"x","costs":"y","fix":"z"}"#
        );
    }
}
