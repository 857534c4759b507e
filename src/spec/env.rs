//! Environment variables: values of `--env`, and docker's rules of precedence.

use std::str::FromStr;

use crate::error::{Context, Error, Result, Setting};

/// Value of `--env`, or line of an `--env-file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvChange {
    /// `NAME=VALUE`
    Set(String, String),
    /// `NAME`: the host's value; if the host has none, the variable is removed (docker).
    FromHost(String),
    /// `SLURM_*`: all variables of the host whose names match the pattern (glob(7)).
    AllFromHost(glob::Pattern),
}

impl FromStr for EnvChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("a variable holds no zero byte".into());
        }
        match text.split_once('=') {
            Some(("", _)) => Err("the name of the variable is missing".into()),
            Some((name, value)) => Ok(Self::Set(name.to_owned(), value.to_owned())),
            None if text.is_empty() => Err("the name of the variable is missing".into()),
            None if text.contains(['*', '?', '[']) => match glob::Pattern::new(text) {
                Ok(pattern) => Ok(Self::AllFromHost(pattern)),
                Err(error) => Err(format!("a malformed pattern: {}", error.msg)),
            },
            None => Ok(Self::FromHost(text.to_owned())),
        }
    }
}

/// Variables of a container, each once, in the order of their first occurrence.
#[derive(Debug, Default)]
pub(super) struct Environment(Vec<(String, String)>);

impl Environment {
    /// Sets a variable, replacing an old value.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Sets a variable unless it has a value. An empty value counts as none.
    pub(super) fn set_missing(&mut self, name: &str, value: &str) {
        if !self.0.iter().any(|(known, old)| known == name && !old.is_empty()) {
            self.set(name, value);
        }
    }

    /// Removes a variable.
    pub(super) fn unset(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// Sets a variable, expanding `$NAME` and `${NAME}` to the values so far (`--env-merge`). Errors: not `NAME=VALUE`.
    pub(super) fn merge(&mut self, change: &EnvChange) -> Result<()> {
        let EnvChange::Set(name, value) = change else {
            return Err(Error::invalid("expected NAME=VALUE")).context(|| Setting::EnvMerge);
        };
        let mut merged = String::new();
        let mut rest = value.as_str();
        while let Some((before, after)) = rest.split_once('$') {
            merged += before;
            let braced = after.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let end = after.find(|c| !is_of_name(c)).unwrap_or(after.len());
            let (variable, tail) = braced.unwrap_or_else(|| after.split_at(end));
            match variable {
                "" => merged.push('$'),
                variable => merged += self.value(variable).unwrap_or_default(),
            }
            rest = tail;
        }
        self.set(name, &(merged + rest));
        Ok(())
    }

    /// Returns the value of a variable.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Applies a change. Errors: a value of the host is not UTF-8, which config.json cannot hold.
    pub(super) fn apply(&mut self, change: &EnvChange) -> Result<()> {
        match change {
            EnvChange::Set(name, value) => self.set(name, value),
            EnvChange::FromHost(name) => match host_value(name)? {
                Some(value) => self.set(name, &value),
                None => self.0.retain(|(known, _)| known != name),
            },
            EnvChange::AllFromHost(pattern) => self.take_matching(
                |name| pattern.matches(name),
                |_| Err(not_utf8()).context(|| Setting::Env.with(pattern)),
            )?,
        }
        Ok(())
    }

    /// Sets all variables of the host. A value that is not UTF-8 is left out, with a warning: no flag names it.
    pub(super) fn take_host(&mut self) -> Result<()> {
        self.take_matching(
            |_| true,
            |name| {
                log::warn!("the host's variable {name} is not UTF-8: left out");
                Ok(())
            },
        )
    }

    fn take_matching(
        &mut self,
        matches: impl Fn(&str) -> bool,
        malformed: impl Fn(&str) -> Result<()>,
    ) -> Result<()> {
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| matches(name)) else { continue };
            match value.to_str() {
                Some(value) => self.set(name, value),
                None => malformed(name).context(|| name)?,
            }
        }
        Ok(())
    }

    /// Variables as `NAME=VALUE` strings.
    pub(super) fn into_strings(self) -> Vec<String> {
        self.0.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

fn not_utf8() -> Error {
    Error::invalid("the host's value is not UTF-8")
}

/// Returns the host's value of a variable. Errors: the value is not UTF-8.
pub(super) fn host_value(name: &str) -> Result<Option<String>> {
    match std::env::var_os(name).map(std::ffi::OsString::into_string) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(_)) => Err(not_utf8().within(Setting::Env.with(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_merged_variable_has_the_values_of_before() {
        let mut environment = Environment::default();
        environment.set("PATH", "/bin");
        for (text, value) in [
            ("PATH=${PATH}:/a", "/bin:/a"),
            ("PATH=/b:$PATH/x", "/b:/bin:/a/x"),
            ("PATH=$NONE-$-${", "-$-${"),
        ] {
            environment.merge(&text.parse().unwrap()).unwrap();
            assert_eq!(environment.value("PATH"), Some(value), "{text}");
        }
        assert!(environment.merge(&"PATH".parse().unwrap()).is_err());
        environment.unset("PATH");
        assert_eq!(environment.value("PATH"), None);
    }

    #[test]
    fn a_variable_is_set_taken_from_the_host_or_taken_with_its_like() {
        let set = |name: &str, value: &str| Ok(EnvChange::Set(name.into(), value.into()));
        assert_eq!("A=1".parse(), set("A", "1"));
        assert_eq!("A=".parse(), set("A", ""));
        assert_eq!("A=b=c".parse(), set("A", "b=c"));
        assert_eq!("A*=1".parse(), set("A*", "1"));
        assert_eq!("A".parse(), Ok(EnvChange::FromHost("A".into())));
        for pattern in ["A*", "*", "A_?", "[AB]_C"] {
            let compiled = glob::Pattern::new(pattern).unwrap();
            assert_eq!(pattern.parse(), Ok(EnvChange::AllFromHost(compiled)));
        }
        for wrong in ["", "=", "=1", "A\0=1", "A[", "A***"] {
            assert!(wrong.parse::<EnvChange>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_last_value_wins_and_a_name_the_host_does_not_know_is_taken_away() {
        let mut environment = Environment::default();
        for change in ["A=1", "B=2", "A=3", "USNEA_TEST_UNKNOWN=4", "USNEA_TEST_UNKNOWN"] {
            environment.apply(&change.parse().unwrap()).unwrap();
        }
        environment.set_missing("A", "5");
        environment.set_missing("C", "6");
        assert_eq!(environment.into_strings(), ["A=3", "B=2", "C=6"]);
    }

    #[test]
    fn a_pattern_takes_every_variable_of_the_host_that_matches() {
        for (pattern, has_path) in
            [("PAT*", true), ("P?TH", true), ("*[T]H", true), ("USNEA_TEST_NONE*", false)]
        {
            let mut environment = Environment::default();
            environment.apply(&pattern.parse().unwrap()).unwrap();
            assert_eq!(environment.value("PATH").is_some(), has_path, "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn what_is_set_comes_back(name in "[^=\0]+", value in "[^\0]*") {
            let change: EnvChange = format!("{name}={value}").parse().unwrap();
            prop_assert_eq!(change, EnvChange::Set(name, value));
        }
    }
}
