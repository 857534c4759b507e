//! Example of the library: the life of a container through `usnea::container` alone, by a program that is not `usnea`.
//! Its arguments are the folder of a store and a root directory. tests/it/library.rs runs it.
//!
//! A launch forks, so this program has a single thread; one with several starts a process for it.

mod bundle;

use std::error::Error;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use usnea::container::{
    self, AfterCreate, Attachment, Audience, CallerStreams, Container, ContainerId,
    ContainerOptions, ContainerRequest, CopyEnd, CopyRequest, EntryOptions, ExecRequest, Finish,
    Input, Lifecycle, Privileges, PullSettings, RemoveOptions, RootSource, SignalProxy, Signals,
    Stdin, Usnea,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    // The monitor of a container executes this program anew.
    if let Some(ended) = container::roles::run_if_any() {
        return ended;
    }
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if let [mode, folder] = &arguments[..]
        && let Some(mode @ ("--bundle" | "--explain")) = mode.to_str()
    {
        return bundle::run(mode, folder).into();
    }
    let [store, root] = &arguments[..] else {
        eprintln!("usage: library STORE ROOT");
        return ExitCode::FAILURE;
    };
    match life_of_a_container(store, root) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("library: {error}");
            ExitCode::FAILURE
        }
    }
}

fn life_of_a_container(store: &Path, root: &Path) -> Result<()> {
    let own = File::open("/dev/zero")?;
    let before = standard_streams()?;
    let usnea = Usnea::new(Some(store.to_owned()));

    let id = create(&usnea, root)?;
    let names = || -> Result<Vec<String>> {
        Ok(container::all(&usnea)?.into_iter().map(|one| one.record.name).collect())
    };
    expect("the names of all containers", names()?, vec!["by-library".to_owned()])?;

    let made = container::find(&usnea, &id)?;
    container::start(&usnea, &made, None)?;
    expect("the output of exec", exec(&made)?, "within\n".to_owned())?;
    expect("the copied file", copy(&usnea, &made)?, "by-library\n".to_owned())?;
    expect(
        "the end and the streams of attach",
        attach(&made)?,
        (7, "typed\n".into(), "err\n".into()),
    )?;

    container::remove(&usnea, &id, RemoveOptions::default())?;
    expect("the names at the end", names()?, Vec::new())?;
    expect("the standard streams at the end", standard_streams()?, before)?;
    let mut zero = [1];
    (&own).read_exact(&mut zero)?;
    expect("a byte of a descriptor of our own", zero, [0])
}

/// Creates a container whose command answers its input; returns its ID.
fn create(usnea: &Usnea, root: &Path) -> Result<ContainerId> {
    let command = "hostname > /tmp/name; cat; echo err >&2; exit 7";
    let request = ContainerRequest {
        source: RootSource::Directory(root.to_owned()),
        command: ["/bin/sh", "-c", command].map(str::to_owned).to_vec(),
        options: ContainerOptions {
            name: Some("by-library".parse()?),
            hostname: Some("by-library".parse()?),
            interactive: true,
            ..ContainerOptions::default()
        },
    };
    let lifecycle = Lifecycle {
        image: format!("dir:{}", root.display()),
        input: Input::Once,
        ..Lifecycle::default()
    };
    let pull = PullSettings::never()?;
    let created = container::create(usnea, &request, &lifecycle, &pull, AfterCreate::Leave)?;
    Ok(created.container.record.id)
}

/// Runs another command in the container; returns its output.
fn exec(container: &Container) -> Result<String> {
    let (input, output, error) = (pipe()?, pipe()?, pipe()?);
    let request = ExecRequest {
        command: ["/bin/sh", "-c", "until [ -s /tmp/name ]; do sleep 0.1; done; echo within"]
            .map(str::to_owned)
            .to_vec(),
        options: EntryOptions::default(),
        privileges: Privileges::default(),
        terminal: false,
        stdin: Stdin::Null,
        preserve_fds: 0,
        preserve_fd: Vec::new(),
        sockets: None,
        keys: None,
        finish: Finish::AtEnd,
        audience: Audience::All,
    };
    let status = container::exec(container, request, streams(&input.0, &output.1, &error.1))?;
    expect("the exit status of exec", status, 0)?;
    all_of(output)
}

/// Copies a file that the container wrote; returns its content.
fn copy(usnea: &Usnea, container: &Container) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let target = folder.path().join("name");
    let from = CopyEnd::Container(Box::new(container.clone()), "/tmp/name".into());
    container::copy(usnea, &from, &CopyEnd::Host(target.clone()), CopyRequest::default())?;
    Ok(std::fs::read_to_string(target)?)
}

/// Types a line, and stays until the command ends; returns its exit status, output and standard error.
fn attach(container: &Container) -> Result<(u8, String, String)> {
    let (mut input, output, error) = (pipe()?, pipe()?, pipe()?);
    input.1.write_all(b"typed\n")?;
    drop(input.1);
    let attachment = Attachment {
        socket: container::connect_monitor(container)?,
        streams: streams(&input.0, &output.1, &error.1),
        reads_input: true,
        keys: Default::default(),
        proxy: SignalProxy::Off,
    };
    let status = container::attach(container, attachment, &Signals::block(&[])?)?;
    Ok((status.ok_or("the detach keys were typed")?, all_of(output)?, all_of(error)?))
}

fn streams<'a>(
    input: &'a PipeReader,
    output: &'a PipeWriter,
    error: &'a PipeWriter,
) -> CallerStreams<'a> {
    CallerStreams { input: input.as_fd(), output: output.as_fd(), error: error.as_fd() }
}

/// Reads what was written into a pipe: less than it holds.
fn all_of((mut reader, writer): (PipeReader, PipeWriter)) -> Result<String> {
    drop(writer);
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    Ok(text)
}

/// Returns device and inode of the descriptors 0 to 2.
fn standard_streams() -> Result<Vec<(u64, u64)>> {
    let identity = |number| -> Result<_> {
        let stat = rustix::fs::stat(format!("/proc/self/fd/{number}"))?;
        Ok((stat.st_dev, stat.st_ino))
    };
    (0..=2).map(identity).collect()
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<()> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what}: {found:?}, expected {expected:?}").into()),
    }
}
