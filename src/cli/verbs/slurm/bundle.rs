//! `usnea slurm bundle`: writes a bundle whose only file is a config.json with the name of an image.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use serde_json::json;

use crate::cli::verbs::oci::image_bundle::{self, IMAGE, OPTIONS};
use crate::error::{Context, Error, Result};
use crate::files;

/// Prefixes of images that are followed by a path.
const PATH_PREFIXES: [&str; 6] = ["dir", "sqsh", "sif", "oci", "oci-archive", "docker-archive"];

/// Write a bundle that names an image
///
/// The directory DIR gets one file, config.json, with the name of IMAGE and the OPTIONS of usnea run. No root directory
/// is written: usnea-oci run finds the image in the store of the user who starts the bundle, pulls it if it is missing,
/// or reads it from a single file. Command, environment and terminal are those of the job step.
#[derive(clap::Args)]
pub struct Arguments {
    /// Image, as of usnea run.
    #[arg(value_name = "IMAGE")]
    image: String,

    /// Directory of the bundle, made if it is missing.
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Options of usnea run, behind --.
    #[arg(value_name = "OPTIONS", last = true, num_args = 0.., allow_hyphen_values = true)]
    options: Vec<String>,
}

/// Writes the bundle. Errors: wrong options; there is a config.json.
pub fn run(arguments: &Arguments) -> Result<u8> {
    let Arguments { image, folder, options } = arguments;
    let image = absolute(image)?;
    image_bundle::check(options, &image)?;
    let options = serde_json::to_string(options).map_err(Error::new)?;
    // Slurm adds the command, the environment, the terminal and mounts. It makes root.path absolute.
    let config = json!({
        "ociVersion": crate::oci::SPEC_VERSION,
        "root": { "path": "rootfs" },
        "process": { "cwd": "/", "user": { "uid": 0, "gid": 0 }, "args": [], "env": [] },
        "mounts": [],
        "annotations": { IMAGE: image, OPTIONS: options },
    });
    let text = serde_json::to_string_pretty(&config).map_err(Error::new)? + "\n";
    let path = folder.join("config.json");
    std::fs::create_dir_all(folder).map_err(|error| files::cannot_write_output(error, folder))?;
    File::create_new(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| files::cannot_write_output(error, &path))?;
    Ok(0)
}

/// Makes the path in a name absolute: a step has another current directory.
fn absolute(image: &str) -> Result<String> {
    let colon = image.find(':').filter(|at| PATH_PREFIXES.contains(&&image[..*at]));
    let (prefix, path) = match colon {
        Some(at) => image.split_at(at + 1),
        None if image.starts_with("./") => ("", image),
        None => return Ok(image.to_owned()),
    };
    let path = std::path::absolute(path).context(|| format!("cannot tell where {path} is"))?;
    Ok(format!("{prefix}{}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute_and_names_stay() {
        let here = std::env::current_dir().unwrap();
        let here = here.display();
        for (image, wanted) in [
            ("debian:12", "debian:12".to_owned()),
            ("registry.example.org:5000/a/b:1", "registry.example.org:5000/a/b:1".to_owned()),
            ("host:sh,ls", "host:sh,ls".to_owned()),
            ("/a/b.sqsh", "/a/b.sqsh".to_owned()),
            ("./b.sqsh", format!("{here}/b.sqsh")),
            ("sqsh:b", format!("sqsh:{here}/b")),
            ("oci:d:1", format!("oci:{here}/d:1")),
        ] {
            assert_eq!(absolute(image).unwrap(), wanted);
        }
    }
}
