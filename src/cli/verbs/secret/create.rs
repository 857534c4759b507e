//! `usnea secret create`: makes a secret.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::cli::output::{print, streams};
use crate::container::Usnea;
use crate::container::secrets::{self, LARGEST, NameConflict, NewSecret};
use crate::engine::SecretContent;
use crate::error::{Context, Error, Result};
use crate::spec::SecretName;

/// Create a secret
///
/// Reads the content from a file, from standard input, or from an environment variable.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name of the secret.
    #[arg(value_name = "NAME")]
    name: SecretName,

    /// File with the content, 1 to 512000 bytes; -, or nothing: standard input. With --env: name of a variable.
    #[arg(value_name = "FILE|-|VARIABLE", required_if_eq("env", "true"))]
    file: Option<PathBuf>,

    /// Set a label.
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,

    /// Secret driver; only file is supported.
    #[arg(short, long, value_name = "DRIVER", default_value = "file")]
    driver: String,

    /// Driver options: none are supported.
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    driver_opts: Vec<String>,

    /// Read the content from an environment variable of this command.
    #[arg(long)]
    env: bool,

    /// Replace a secret of the same name. Containers that have it keep the former content.
    #[arg(long)]
    replace: bool,
}

/// Makes a secret, and prints its ID.
pub fn run(arguments: &Arguments, usnea: &Usnea) -> Result<u8> {
    if arguments.driver != "file" {
        let driver = arguments.driver.escape_debug();
        return Err(Error::invalid(format!("--driver {driver}: there is no such driver"))
            .hint("file, which keeps secrets in usnea's own folder"));
    }
    if let Some(option) = arguments.driver_opts.iter().find(|option| !option.is_empty()) {
        let option = option.escape_debug();
        return Err(Error::invalid(format!("--driver-opts {option}: the driver has no options")));
    }
    let labels = arguments.label.iter().map(|label| {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        match key {
            "" => Err(Error::invalid(format!("--label {}: it has no key", label.escape_debug()))),
            key => Ok((key.to_owned(), value.to_owned())),
        }
    });
    let new = NewSecret {
        name: arguments.name.clone(),
        labels: labels.collect::<Result<BTreeMap<_, _>>>()?,
        content: SecretContent(content(arguments)?),
        conflict: match arguments.replace {
            true => NameConflict::Replace,
            false => NameConflict::Refuse,
        },
    };
    print(&format!("{}\n", secrets::create(usnea, &new)?))
}

fn content(arguments: &Arguments) -> Result<Vec<u8>> {
    let source = arguments.file.as_deref().unwrap_or(Path::new("-"));
    if arguments.env {
        let value = std::env::var_os(source).ok_or_else(|| {
            Error::not_found(format!("--env {}: there is no such variable", source.display()))
        });
        return Ok(value?.as_bytes().to_vec());
    }
    let (file, shown) = match source == Path::new("-") {
        true => (streams::duplicate(rustix::stdio::stdin())?, "standard input".to_owned()),
        false => {
            let shown = source.display().to_string();
            (File::open(source).context(|| format!("cannot read {shown}"))?, shown)
        }
    };
    let mut content = Vec::new();
    // A read of one byte more shows that there is too much.
    let mut bounded = file.take(LARGEST as u64 + 1);
    bounded.read_to_end(&mut content).context(|| format!("cannot read {shown}"))?;
    Ok(content)
}
