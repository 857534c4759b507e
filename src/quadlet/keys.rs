//! Tables of keys: the flag that a key becomes, or the reason why usnea does not support the key.

use super::message::{FileMessage, FileProblem};
use super::source::QuadletFile;
use super::unit_file::{Toggle, UnitSetting};
use super::words;

/// Key of a group.
pub type FlagKey = (&'static str, FlagRule);

/// Translation of a key into flags.
#[derive(Clone, Copy, Debug)]
pub enum FlagRule {
    /// Flag with the last value.
    Last(&'static str),
    /// Flag for each value.
    Each(&'static str),
    /// Flag for each word of all values.
    Words(&'static str),
    /// Flag for each `KEY=VALUE` word; of two words with the same key, the later one counts.
    Pairs(&'static str),
    /// A boolean: the flag, or the flag with `=false`.
    Switch(&'static str),
    /// A boolean: the flag with its value, if it is true.
    IfTrue(&'static str, &'static str),
    /// `--security-opt` with this prefix and the last value.
    Security(&'static str),
    /// Translated by the code of its kind of file.
    Special,
    /// Not supported, with the reason.
    Refused(&'static str),
}

/// Command line of a unit, under construction.
#[derive(Clone, Debug, Default)]
pub struct UnitCommand(pub Vec<String>);

impl UnitCommand {
    /// Command line that begins with `words`.
    pub fn of(program: &str, words: &[&str]) -> Self {
        let words = words.iter().map(|word| (*word).to_owned());
        Self(std::iter::once(program.to_owned()).chain(words).collect())
    }

    /// Adds a word.
    pub fn word(&mut self, word: impl Into<String>) {
        self.0.push(word.into());
    }

    /// Adds words.
    pub fn words<T: Into<String>>(&mut self, words: impl IntoIterator<Item = T>) {
        self.0.extend(words.into_iter().map(Into::into));
    }

    /// Adds a flag and its value.
    pub fn flag(&mut self, flag: &str, value: impl Into<String>) {
        self.0.extend([flag.to_owned(), value.into()]);
    }

    /// Adds the flags of the keys in `table`. Errors: an invalid value; an unsupported key.
    pub fn keys(&mut self, source: &QuadletFile, table: &[FlagKey]) -> Result<(), FileProblem> {
        table.iter().try_for_each(|(key, rule)| self.key(source, key, *rule))
    }

    fn key(&mut self, source: &QuadletFile, key: &str, rule: FlagRule) -> Result<(), FileProblem> {
        let group = source.kind.group();
        let last = source.unit.last(group, key);
        match rule {
            FlagRule::Last(flag) => {
                last.into_iter().for_each(|setting| self.flag(flag, &setting.value));
            }
            FlagRule::Each(flag) => {
                let all = source.unit.list(group, key);
                all.into_iter().for_each(|setting| self.flag(flag, &setting.value));
            }
            FlagRule::Words(flag) => {
                source.words(group, key)?.into_iter().for_each(|word| self.flag(flag, word));
            }
            FlagRule::Pairs(flag) => {
                let pairs = pairs(source.words(group, key)?);
                pairs.into_iter().for_each(|pair| self.flag(flag, pair));
            }
            FlagRule::Switch(flag) => match last.map(UnitSetting::boolean).transpose()? {
                Some(Toggle::On) => self.word(flag),
                Some(Toggle::Off) => self.word(format!("{flag}=false")),
                None => {}
            },
            FlagRule::IfTrue(flag, value) => {
                if last.map(UnitSetting::boolean).transpose()? == Some(Toggle::On) {
                    self.flag(flag, value);
                }
            }
            FlagRule::Security(prefix) => {
                let option = |setting: &UnitSetting| format!("{prefix}{}", setting.value);
                last.into_iter().for_each(|setting| self.flag("--security-opt", option(setting)));
            }
            FlagRule::Special => {}
            FlagRule::Refused(reason) => {
                if let Some(setting) = last {
                    return Err(setting.problem(reason));
                }
            }
        }
        Ok(())
    }

    /// Text for `ExecStart=` and its like.
    pub fn text(&self) -> String {
        words::join(&self.0)
    }
}

/// Drops the pairs whose key occurs again later.
fn pairs(all: Vec<String>) -> Vec<String> {
    let key = |pair: &str| pair.split_once('=').map_or(pair.to_owned(), |(key, _)| key.to_owned());
    let keys: Vec<String> = all.iter().map(|pair| key(pair)).collect();
    let is_last = |index: usize| !keys[index + 1..].contains(&keys[index]);
    let kept = all.into_iter().enumerate().filter(|(index, _)| is_last(*index));
    kept.map(|(_, pair)| pair).collect()
}

/// Warnings about keys of `group` that are in no table.
pub fn unknown_keys(source: &QuadletFile, group: &str, tables: &[&[FlagKey]]) -> Vec<FileMessage> {
    let is_known = |setting: &&UnitSetting| {
        tables.iter().any(|table| table.iter().any(|(key, _)| *key == setting.key))
    };
    let unknown = source.unit.settings(group).filter(|setting| !is_known(setting));
    let message = |setting: &UnitSetting| {
        let text = format!("unknown key {}= in [{group}], ignored", setting.key);
        FileMessage { place: setting.place.clone(), file: Some(source.path.clone()), text }
    };
    unknown.map(message).collect()
}
