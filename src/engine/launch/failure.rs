//! Error for the user from a failure that a child has sent: step, object, cause and hint.

use crate::engine::messages::StepFailure;
use crate::engine::plan::step::Step;
use crate::error::{self, Context, Error, ErrorKind};
use crate::hint;
use crate::host::{self, hint::Hint};

/// Warning for a container in which the out-of-memory killer has killed a process.
pub const KILLED_FOR_MEMORY: &str =
    "the kernel killed a process of the container for want of memory";

/// Builds the error for the user: step, object, cause and hint.
pub fn explain_failure(steps: &[Step], failure: StepFailure) -> Error {
    let Some(step) = steps.get(failure.step) else {
        return Error::new(failure.what);
    };
    let mut error = match failure.errno {
        0 => Error::new(&failure.what),
        errno => Error::from(std::io::Error::from_raw_os_error(errno)),
    };
    let context =
        |error: Error, phrase: String| Err::<(), _>(error).context(|| phrase).unwrap_err();
    if failure.errno != 0 && !failure.what.is_empty() {
        error = context(error, failure.what);
    }
    error = context(error, format!("cannot {}", step.doing()));
    if matches!(failure.errno, libc::EPERM | libc::EACCES) {
        error = error.of_kind(ErrorKind::Refused);
    }
    if let Some(hint) = failure.hint {
        return error.hint(hint);
    }
    match (step, failure.errno) {
        (Step::Exec(_), libc::ENOENT | libc::ENOTDIR) => error
            .of_kind(ErrorKind::Invalid)
            .exit_status(error::STATUS_NOT_FOUND)
            .hint("the program is looked up inside the container; a host: root has only the programs that were named"),
        (Step::Exec(_), libc::ENOEXEC) => error
            .of_kind(ErrorKind::Invalid)
            .exit_status(error::STATUS_CANNOT_INVOKE)
            .hint("is it a program for another architecture, or a script without '#!'?"),
        (Step::Exec(_), _) => error.exit_status(error::STATUS_CANNOT_INVOKE),
        // Status of docker and podman where the folder does not exist (crun#1823).
        (Step::WorkingFolder(_), errno) if matches!(steps.first(), Some(Step::Join(_))) => {
            error.exit_status(match errno {
                libc::ENOENT => error::STATUS_NOT_FOUND,
                _ => error::STATUS_CANNOT_INVOKE,
            })
        }
        (Step::Hostname(_) | Step::Domainname(_), libc::EPERM) => error.hint(Hint::Hostname),
        // mount_too_revealing() in the kernel.
        (Step::Mount(mount), libc::EPERM) if mount.is_new("proc") => error.hint(Hint::MaskedProc),
        // EBUSY: a process has a listener in one filter at most (seccomp(2)), and an outer container's filter has it.
        (Step::Seccomp(_, Some(_)), libc::EBUSY) => error.hint(hint::ONE_ROOT_EMULATION),
        // Base has the power to mount: a filter has refused the calls.
        (Step::Layers(_) | Step::Root(_) | Step::Mount(_) | Step::PivotRoot, libc::EPERM)
            if host::userns::is_filtered() =>
        {
            error.hint(Hint::RefusedCall)
        }
        (Step::Join(_), libc::ESRCH | libc::ENOMEM) => error.hint("the container has just ended"),
        (Step::Maps(_), _) => match host::userns::forbidden_hint() {
            Some(hint) => error.hint(hint),
            None => error,
        },
        _ => error,
    }
}
