//! `usnea pod logs` and `pod top`: the output and the processes of all members.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use super::known::Pod;
use crate::container::{self, Container, LogRequest, ProcessTable};
use crate::error::{Context, Error, Result};

/// Stream that several threads write to.
type SharedStream<'a> = Mutex<&'a mut (dyn Write + Send + 'a)>;

/// Writes the logs of members, each with a request of its own, one after the other. Where the first one follows, all do
/// so at the same time. Returns the failures.
pub fn logs<'a>(
    members: &[(Container, LogRequest)],
    output: &'a mut (dyn Write + Send + 'a),
    error: &'a mut (dyn Write + Send + 'a),
) -> Vec<Error> {
    let (output, error) = (SharedStream::new(output), SharedStream::new(error));
    let write = |one: &(Container, LogRequest)| {
        let mut streams = [WholeLines::to(&output), WholeLines::to(&error)];
        let [output, error] = &mut streams;
        let written = container::logs(&one.0, &one.1, output, error);
        streams.iter_mut().for_each(WholeLines::finish);
        written.context(|| format!("container {}", one.0.record.name)).err()
    };
    if !members.first().is_some_and(|(_, request)| request.follow) {
        return members.iter().filter_map(write).collect();
    }
    std::thread::scope(|scope| {
        let threads: Vec<_> = members.iter().map(|one| scope.spawn(|| write(one))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect()
    })
}

/// Stream that passes whole lines on: those of several members do not mix.
struct WholeLines<'a, 'b> {
    stream: &'a SharedStream<'b>,
    rest: Vec<u8>,
}

impl<'a, 'b> WholeLines<'a, 'b> {
    fn to(stream: &'a SharedStream<'b>) -> Self {
        Self { stream, rest: Vec::new() }
    }

    fn pass(&mut self, length: usize) -> io::Result<()> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.write_all(&self.rest[..length])?;
        self.rest.drain(..length);
        stream.flush()
    }

    /// Passes on the last line, which has no end. A reader that is gone is no error.
    fn finish(&mut self) {
        let _ = self.pass(self.rest.len());
    }
}

impl Write for WholeLines<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.rest.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => self.pass(end + 1),
            None => Ok(()),
        }
    }
}

/// Returns the processes of all members that run. `options` are those of ps(1). Errors: no member runs.
pub fn top(pod: &Pod, options: &[String]) -> Result<ProcessTable> {
    let mut running = Vec::new();
    for member in pod.members()? {
        if member.status()?.is_running() {
            running.push(member);
        }
    }
    if running.is_empty() {
        let name = &pod.record.name;
        let state = pod.state()?.word().to_lowercase();
        return Err(Error::not_running(format!("pod {name} is not running: it is {state}"))
            .hint(format!("usnea pod start {name}")));
    }
    container::top(&running, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_several_writers_stay_whole() {
        let mut bytes = Vec::new();
        {
            let stream: SharedStream<'_> = Mutex::new(&mut bytes);
            let (mut one, mut other) = (WholeLines::to(&stream), WholeLines::to(&stream));
            one.write_all(b"a\nfirst ").unwrap();
            one.flush().unwrap();
            other.write_all(b"other\n").unwrap();
            other.flush().unwrap();
            one.write_all(b"half\nend").unwrap();
            one.flush().unwrap();
            one.finish();
        }
        assert_eq!(String::from_utf8(bytes).unwrap(), "a\nother\nfirst half\nend");
    }
}
