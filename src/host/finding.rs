//! Finding of a check: a row of `usnea doctor`, for people and for scripts.

use serde::Serialize;

/// Result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FindingStatus {
    /// Works fully.
    Ok,
    /// Works, at a cost.
    Degraded,
    /// Missing.
    Missing,
}

impl FindingStatus {
    /// Returns the word of the table and of the JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
        }
    }
}

/// Importance of a finding for running containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FindingWeight {
    /// Containers run without it, with a limit.
    #[default]
    Limit,
    /// No container can run without it.
    Essential,
}

/// Row of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Subject of the check.
    pub name: &'static str,
    /// Result of the check.
    pub status: FindingStatus,
    /// Facts that the check found.
    pub found: String,
    /// Cost to the user, in one sentence.
    pub costs: Option<String>,
    /// Command that repairs the problem.
    pub fix: Option<String>,
    /// Importance for running containers.
    #[serde(skip)]
    pub weight: FindingWeight,
}

impl Finding {
    fn new(name: &'static str, status: FindingStatus, found: impl Into<String>) -> Self {
        let found = found.into();
        Self { name, status, found, costs: None, fix: None, weight: FindingWeight::Limit }
    }

    /// Makes a finding that works fully.
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, FindingStatus::Ok, found)
    }

    /// Makes a finding that works at a cost.
    pub fn degraded(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, FindingStatus::Degraded, found)
    }

    /// Makes a finding that is missing.
    pub fn missing(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(name, FindingStatus::Missing, found)
    }

    /// Sets the cost, in one plain sentence.
    pub fn costs(mut self, sentence: impl Into<String>) -> Self {
        self.costs = Some(sentence.into());
        self
    }

    /// Sets the command that repairs the problem, where one is known.
    pub fn fix(mut self, command: impl Into<Option<String>>) -> Self {
        self.fix = command.into();
        self
    }

    /// Marks the finding as essential: no container can run without it.
    pub fn essential(mut self) -> Self {
        self.weight = FindingWeight::Essential;
        self
    }
}

/// Summary of all findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindingsVerdict {
    /// All checks are ok.
    Works,
    /// Containers run, with limits.
    WorksWithLimits,
    /// No container can run; the text is the finding that explains it.
    DoesNotWork(String),
}

/// Returns the summary of all findings.
pub fn verdict(findings: &[Finding]) -> FindingsVerdict {
    let stops = |finding: &&Finding| {
        finding.weight == FindingWeight::Essential && finding.status == FindingStatus::Missing
    };
    if let Some(finding) = findings.iter().find(stops) {
        return FindingsVerdict::DoesNotWork(format!("{}: {}", finding.name, finding.found));
    }
    if findings.iter().all(|finding| finding.status == FindingStatus::Ok) {
        return FindingsVerdict::Works;
    }
    FindingsVerdict::WorksWithLimits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_essential_stops_containers() {
        let fine = Finding::ok("a", "x").essential();
        let limit = Finding::missing("b", "y");
        let stop = Finding::missing("c", "z").essential();
        assert_eq!(verdict(&[]), FindingsVerdict::Works);
        assert_eq!(verdict(std::slice::from_ref(&fine)), FindingsVerdict::Works);
        assert_eq!(verdict(&[fine, limit.clone()]), FindingsVerdict::WorksWithLimits);
        assert_eq!(verdict(&[limit, stop]), FindingsVerdict::DoesNotWork("c: z".into()));
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
