//! Unit files in systemd's format: groups of `Key=value` lines (systemd.syntax(7)).

use std::fmt::{self, Write};
use std::path::Path;
use std::rc::Rc;

use super::message::{FileMessage, FileProblem, SourceLine};

/// Unit file: its groups, in the order of their first lines.
#[derive(Clone, Debug, Default)]
pub struct UnitFile {
    groups: Vec<UnitGroup>,
}

/// Group of a unit file, such as `[Service]`.
#[derive(Clone, Debug)]
pub struct UnitGroup {
    /// Name without brackets.
    pub name: String,
    /// Settings, in the order of the file.
    pub settings: Vec<UnitSetting>,
}

/// Setting `Key=value` of a unit file.
#[derive(Clone, Debug)]
pub struct UnitSetting {
    /// Key.
    pub key: String,
    /// Value, with continued lines joined, and without blanks around it.
    pub value: String,
    /// Position in the file; `None`: a setting of the generator.
    pub place: Option<SourceLine>,
}

impl UnitFile {
    /// Reads the `text` of `file`. Errors: a line that is neither group, setting nor comment.
    pub fn parse(text: &str, file: &Path) -> Result<Self, FileProblem> {
        let file: Rc<Path> = file.into();
        // systemd reads no such file, and a command line cannot quote it.
        if let Some(index) = text.lines().position(|line| line.contains('\0')) {
            return Err(SourceLine { file, number: index + 1 }.problem("a zero byte"));
        }
        let mut unit = Self::default();
        let mut group = None;
        let mut lines = text.lines().enumerate();
        while let Some((index, line)) = lines.next() {
            let place = SourceLine { file: Rc::clone(&file), number: index + 1 };
            let line = line.trim();
            if line.is_empty() || is_comment(line) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                unit.group(name);
                group = Some(name.to_owned());
                continue;
            }
            let line = continued(line, &mut lines);
            let Some((key, value)) = line.split_once('=') else {
                return Err(place.problem(format!("'{line}' is no KEY=VALUE and no [GROUP]")));
            };
            let Some(group) = &group else {
                return Err(place.problem(format!("'{line}' stands before the first [GROUP]")));
            };
            let (key, value) = (key.trim_end().to_owned(), value.trim().to_owned());
            unit.group(group).settings.push(UnitSetting { key, value, place: Some(place) });
        }
        Ok(unit)
    }

    /// Appends the settings of a drop-in file.
    pub fn merge(&mut self, drop_in: Self) {
        for group in drop_in.groups {
            self.group(&group.name).settings.extend(group.settings);
        }
    }

    /// Returns the group `name`; adds it if it is missing.
    pub fn group(&mut self, name: &str) -> &mut UnitGroup {
        let index = self.groups.iter().position(|group| group.name == name);
        let index = index.unwrap_or_else(|| {
            self.groups.push(UnitGroup { name: name.to_owned(), settings: Vec::new() });
            self.groups.len() - 1
        });
        &mut self.groups[index]
    }

    /// Names of the groups.
    pub fn group_names(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(|group| group.name.as_str())
    }

    /// Changes the name of a group.
    pub fn rename_group(&mut self, name: &str, new_name: &str) {
        if let Some(group) = self.groups.iter_mut().find(|group| group.name == name) {
            group.name = new_name.to_owned();
        }
    }

    /// Settings of the group `name`.
    pub fn settings(&self, name: &str) -> impl Iterator<Item = &UnitSetting> {
        let group = self.groups.iter().find(|group| group.name == name);
        group.into_iter().flat_map(|group| &group.settings)
    }

    /// Returns the last setting of `key`. `None`: no setting, or the last one is empty.
    pub fn last(&self, group: &str, key: &str) -> Option<&UnitSetting> {
        let last = self.settings(group).filter(|setting| setting.key == key).last();
        last.filter(|setting| !setting.value.is_empty())
    }

    /// Returns the effective settings of `key`: an empty one cancels those before it.
    pub fn list(&self, group: &str, key: &str) -> Vec<&UnitSetting> {
        let mut all = Vec::new();
        for setting in self.settings(group).filter(|setting| setting.key == key) {
            match setting.value.is_empty() {
                true => all.clear(),
                false => all.push(setting),
            }
        }
        all
    }

    /// True if the group has a setting of `key`, empty or not.
    pub fn has(&self, group: &str, key: &str) -> bool {
        self.settings(group).any(|setting| setting.key == key)
    }

    /// Adds a setting at the end of a group.
    pub fn add(&mut self, group: &str, key: &str, value: impl Into<String>) {
        let (key, value) = (key.to_owned(), value.into());
        self.group(group).settings.push(UnitSetting { key, value, place: None });
    }

    /// Adds a setting before those of its group: the settings of the file override it.
    pub fn add_first(&mut self, group: &str, key: &str, value: impl Into<String>) {
        let (key, value) = (key.to_owned(), value.into());
        self.group(group).settings.insert(0, UnitSetting { key, value, place: None });
    }
}

impl fmt::Display for UnitFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, group) in self.groups.iter().enumerate() {
            if index > 0 {
                formatter.write_char('\n')?;
            }
            writeln!(formatter, "[{}]", group.name)?;
            for setting in &group.settings {
                writeln!(formatter, "{}={}", setting.key, setting.value)?;
            }
        }
        Ok(())
    }
}

impl UnitSetting {
    /// Returns a problem of this setting.
    pub fn problem(&self, text: impl fmt::Display) -> FileProblem {
        let text = format!("{}={}: {text}", self.key, self.value);
        match &self.place {
            Some(place) => place.problem(text),
            None => FileProblem(FileMessage { place: None, file: None, text }),
        }
    }

    /// Reads a boolean (systemd.syntax(7)). Errors: another word.
    pub fn boolean(&self) -> Result<Toggle, FileProblem> {
        match self.value.to_ascii_lowercase().as_str() {
            "1" | "yes" | "y" | "true" | "t" | "on" => Ok(Toggle::On),
            "0" | "no" | "n" | "false" | "f" | "off" => Ok(Toggle::Off),
            _ => Err(self.problem("is neither yes nor no")),
        }
    }
}

/// Value of a boolean setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toggle {
    /// `yes`.
    On,
    /// `no`.
    Off,
}

fn is_comment(line: &str) -> bool {
    line.starts_with(['#', ';'])
}

/// Returns `line` joined with its continuation lines. Drops comments between them.
fn continued<'a>(line: &str, lines: &mut impl Iterator<Item = (usize, &'a str)>) -> String {
    let mut whole = line.to_owned();
    while whole.ends_with('\\') {
        whole.pop();
        let Some((_, next)) = lines.find(|(_, next)| !is_comment(next.trim_start())) else { break };
        whole.push(' ');
        whole.push_str(next.trim());
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> UnitFile {
        UnitFile::parse(text, Path::new("/x/a.container")).unwrap()
    }

    #[test]
    fn groups_of_one_name_are_one_and_comments_are_dropped() {
        let unit = parse("# c\n[A]\nx=1\n; c\n[B]\ny = 2 \n[A]\nx=3\n");
        assert_eq!(unit.to_string(), "[A]\nx=1\nx=3\n\n[B]\ny=2\n");
    }

    #[test]
    fn a_continued_line_is_one_and_skips_comments() {
        let unit = parse("[A]\nx=a \\\n# c\n  b \\\n  c\ny=1\n");
        assert_eq!(unit.last("A", "x").unwrap().value, "a  b  c");
        assert_eq!(unit.last("A", "y").unwrap().place.as_ref().unwrap().number, 6);
        assert_eq!(parse("[A]\nx=a\\").last("A", "x").unwrap().value, "a");
    }

    #[test]
    fn an_empty_setting_cancels_those_before_it() {
        let unit = parse("[A]\nx=1\nx=\nx=2\nx=3\ny=1\ny=\n");
        let values: Vec<_> = unit.list("A", "x").iter().map(|one| one.value.clone()).collect();
        assert_eq!(values, ["2", "3"]);
        assert!(unit.last("A", "y").is_none() && unit.has("A", "y"));
    }

    #[test]
    fn a_line_that_is_no_setting_is_named_by_file_and_line() {
        for (text, line) in [("[A\n", 1), ("[A]\n\nx\n", 3), ("x=1\n", 1), ("[A]\nx=a\\\n\0b\n", 3)]
        {
            let problem = UnitFile::parse(text, Path::new("/x/a.container")).unwrap_err();
            let expected = format!("/x/a.container:{line}: ");
            assert!(problem.to_string().starts_with(&expected), "{problem}");
        }
    }
}
