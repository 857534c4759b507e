//! `--gpus all|N|device=ID[,ID...]`: devices of the kind that a vendor of graphics processors describes for CDI.

use std::str::FromStr;

/// Number of graphics processors, or their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GpuChoice {
    /// All of them.
    All,
    /// The first ones.
    First(u32),
    /// Processors of these names: an index, a UUID.
    Named(Vec<String>),
}

/// Parsed value of `--gpus`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpusFlag {
    /// The value as typed.
    pub text: String,
    /// Driver; `None`: NVIDIA's, else AMD's.
    pub driver: Option<String>,
    /// Processors.
    pub choice: GpuChoice,
}

/// Largest number of processors that may be asked for.
const MOST: u32 = 1024;

impl FromStr for GpusFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // docker reads the value as a line of CSV, so that quotes hold a list together: '"device=0,1"'.
        let plain = text.replace('"', "");
        let (mut choice, mut driver) = (None, None);
        let mut names: Option<Vec<String>> = None;
        for word in plain.split(',').map(str::trim) {
            match word.split_once('=') {
                None if names.is_some() && !word.is_empty() => {
                    names.get_or_insert_default().push(word.to_owned());
                }
                None => choice = Some(count(word)?),
                Some(("count", value)) => choice = Some(count(value)?),
                Some(("device", "")) => return Err("'device=' names none".into()),
                Some(("device", value)) => names = Some(vec![value.to_owned()]),
                Some(("driver", value)) => driver = Some(value.to_owned()),
                // Files of CDI do not tell a driver's capabilities apart.
                Some(("capabilities", _)) => {}
                Some((key, _)) => {
                    return Err(format!(
                        "'{key}' is none of count, device, driver and capabilities"
                    ));
                }
            }
        }
        let choice = match (choice, names) {
            (Some(_), Some(_)) => return Err("a number and names exclude each other".into()),
            (None, Some(names)) => GpuChoice::Named(names),
            (choice, None) => choice.unwrap_or(GpuChoice::First(1)),
        };
        Ok(Self { text: text.to_owned(), driver, choice })
    }
}

fn count(word: &str) -> Result<GpuChoice, String> {
    match (word, word.parse::<u32>()) {
        ("all" | "-1", _) => Ok(GpuChoice::All),
        (_, Ok(number @ 0..=MOST)) => Ok(GpuChoice::First(number)),
        _ => Err(format!("'{word}': expected all, a number, or device=ID[,ID...]")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_forms_of_docker_are_read() {
        let named =
            |names: &[&str]| GpuChoice::Named(names.iter().map(|&name| name.into()).collect());
        for (text, choice) in [
            ("all", GpuChoice::All),
            ("2", GpuChoice::First(2)),
            ("count=3", GpuChoice::First(3)),
            ("count=all", GpuChoice::All),
            ("driver=nvidia", GpuChoice::First(1)),
            ("device=0", named(&["0"])),
            ("\"device=0,2\"", named(&["0", "2"])),
            ("device=GPU-1,GPU-2", named(&["GPU-1", "GPU-2"])),
            ("all,capabilities=utility", GpuChoice::All),
        ] {
            assert_eq!(text.parse::<GpusFlag>().unwrap().choice, choice, "{text}");
        }
        let driver = "driver=amd,count=1".parse::<GpusFlag>().unwrap().driver;
        assert_eq!(driver.as_deref(), Some("amd"));
        for wrong in ["", "some", "-2", "2000", "device=", "count=2,device=0", "uuid=1"] {
            assert!(wrong.parse::<GpusFlag>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_choice_of_gpus_is_a_panic(text in "[a-z0-9=,\"]{0,16}") {
            let _ = text.parse::<GpusFlag>();
        }
    }
}
