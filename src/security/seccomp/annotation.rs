//! Filter of a container, as its config says.
//!
//! The default profile is an annotation of one word: 370 names of calls would be the larger part of each config.json,
//! to be written and read at each start. [`resolve_annotation`] writes them out for another runtime.

use oci_spec::runtime::{Capabilities, LinuxSeccomp, Spec};

use super::builtin::builtin;
use super::filter::Filter;
use super::policy::SupervisedCalls;
use super::profile::{ProfileTarget, resolve};
use crate::error::{Context, Result};
use crate::fail;
use crate::seccomp_source::SeccompSource;

/// Annotation: origin of the filter, in the words of `--security-opt seccomp=`.
const ANNOTATION: &str = "usnea.seccomp";

/// Sets the filter of a container that has its capabilities. Errors: a profile that cannot be read or applied.
pub fn set_filter(spec: &mut Spec, source: &SeccompSource) -> Result<()> {
    let mut word = source.to_string();
    if let SeccompSource::File(path) = source {
        let failed = || format!("seccomp profile {}", path.display());
        let text = std::fs::read_to_string(path).context(failed)?;
        let resolved = resolve(&text, &ProfileTarget::here(&bounding(spec))).context(failed)?;
        // Whatever cannot be applied is an error of this command, not of the start.
        Filter::of_config(&resolved, None).context(failed)?;
        set_config(spec, Some(resolved))?;
        word = std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
    }
    let mut annotations = spec.annotations().clone().unwrap_or_default();
    annotations.insert(ANNOTATION.to_owned(), word);
    spec.set_annotations(Some(annotations));
    Ok(())
}

/// Returns the origin of a container's filter. `None`: unknown.
pub fn source_of(spec: &Spec) -> Option<SeccompSource> {
    let word = spec.annotations().as_ref()?.get(ANNOTATION)?;
    word.parse().ok()
}

/// Compiles the filter of a container, joined with `supervision`. `None`: no filter. Errors: a part of the config that
/// cannot be applied.
pub fn filter_of(spec: &Spec, supervision: Option<SupervisedCalls>) -> Result<Option<Filter>> {
    let config = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
    match (config, source_of(spec), supervision) {
        (Some(config), _, supervision) => Filter::of_config(config, supervision).map(Some),
        (None, Some(SeccompSource::Builtin), supervision) => {
            Filter::of_builtin(&ProfileTarget::here(&bounding(spec)), supervision).map(Some)
        }
        (None, Some(SeccompSource::File(path)), _) => {
            fail!("config.json: no linux.seccomp from the profile {}", path.display())
        }
        (None, _, Some(supervision)) => Filter::of_supervision(supervision).map(Some),
        (None, _, None) => Ok(None),
    }
}

/// Writes the default profile out as `linux.seccomp`, for a runtime that does not know the annotation.
pub fn resolve_annotation(spec: &mut Spec) -> Result<()> {
    if source_of(spec) == Some(SeccompSource::Builtin) {
        let resolved = builtin(&ProfileTarget::here(&bounding(spec)))?;
        set_config(spec, Some(resolved))?;
    }
    if let Some(annotations) = spec.annotations_mut() {
        annotations.remove(ANNOTATION);
    }
    Ok(())
}

fn bounding(spec: &Spec) -> Capabilities {
    let capabilities = spec.process().as_ref().and_then(|process| process.capabilities().as_ref());
    capabilities.and_then(|all| all.bounding().clone()).unwrap_or_default()
}

fn set_config(spec: &mut Spec, config: Option<LinuxSeccomp>) -> Result<()> {
    match spec.linux_mut() {
        Some(linux) => linux.set_seccomp(config),
        None => fail!("a config without its linux part"),
    };
    Ok(())
}
