//! Makes a layer's blob: compresses and hashes the tar while writing a file in tmp/. The same content gives the same
//! bytes.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use flate2::Compression as Level;
use flate2::write::GzEncoder;

use crate::digest::{Algorithm, Digest, Hasher};
use crate::error::{Context, Result};
use crate::files::{self, Spool};
use crate::image::archive::plain::ArchiveSource;
use crate::image::compression::{Compression, sniff};
use crate::image::file_range::FileRange;
use crate::image::manifest::{Descriptor, media};
use crate::image::registry_client::fetch;

/// Form of a new layer's blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewLayerForm {
    /// Uncompressed.
    Plain,
    /// Compressed with gzip.
    Gzip,
}

/// A new layer.
#[derive(Debug)]
pub struct NewLayer {
    /// Descriptor of the blob, for a manifest.
    pub descriptor: Descriptor,
    /// Digest of the layer's tar.
    pub diff_id: Digest,
    /// Content of the blob.
    pub content: FileRange,
    /// File of the blob.
    pub spool: Spool,
}

/// A file that is hashed and counted while it is written.
struct HashingFile {
    file: BufWriter<File>,
    spool: Spool,
    hasher: Hasher,
    count: u64,
}

impl HashingFile {
    fn new(tmp: &Path) -> Result<Self> {
        let spool = Spool::new(tmp)?;
        let file = spool.file.try_clone().context(|| "cannot duplicate a file")?;
        let file = BufWriter::with_capacity(256 << 10, file);
        Ok(Self { file, spool, hasher: Hasher::new(Algorithm::Sha256), count: 0 })
    }

    fn finish(self) -> io::Result<HashedFile> {
        let mut file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        let content = FileRange::whole(file)?;
        let (digest, size) = (self.hasher.finish(), self.count);
        Ok(HashedFile { spool: self.spool, content, digest, size })
    }
}

/// A complete [`HashingFile`].
struct HashedFile {
    spool: Spool,
    content: FileRange,
    digest: Digest,
    size: u64,
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..length).unwrap_or_default());
        self.count += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Turns a layer's tar into its blob.
pub struct LayerWriter {
    encoder: GzEncoder<HashingFile>,
    hasher: Hasher,
    tmp: PathBuf,
}

impl LayerWriter {
    /// Starts a blob in folder `tmp`.
    pub fn new(tmp: &Path) -> Result<Self> {
        // 6: the level of docker's layers.
        let encoder = GzEncoder::new(HashingFile::new(tmp)?, Level::new(6));
        Ok(Self { encoder, hasher: Hasher::new(Algorithm::Sha256), tmp: tmp.to_owned() })
    }

    /// Ends the layer after the whole tar was written.
    pub fn finish(self) -> Result<NewLayer> {
        let blob = self.encoder.finish().and_then(HashingFile::finish);
        let blob = blob.map_err(|error| files::cannot_write(error, &self.tmp))?;
        Ok(NewLayer {
            descriptor: Descriptor::new(media::OCI_LAYER_GZIP, blob.digest, blob.size),
            diff_id: self.hasher.finish(),
            content: blob.content,
            spool: blob.spool,
        })
    }
}

impl Write for LayerWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.encoder.write(bytes)?;
        self.hasher.update(bytes.get(..length).unwrap_or_default());
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
    }
}

/// Turns a layer's tar into an uncompressed blob, for a layer that goes into the store of this machine.
pub struct PlainLayerWriter {
    file: HashingFile,
    tmp: PathBuf,
}

impl PlainLayerWriter {
    /// Starts a blob in folder `tmp`.
    pub fn new(tmp: &Path) -> Result<Self> {
        Ok(Self { file: HashingFile::new(tmp)?, tmp: tmp.to_owned() })
    }

    /// Ends the layer after the whole tar was written.
    pub fn finish(self) -> Result<NewLayer> {
        let blob = self.file.finish().map_err(|error| files::cannot_write(error, &self.tmp))?;
        Ok(NewLayer {
            descriptor: Descriptor::new(media::OCI_LAYER, blob.digest.clone(), blob.size),
            diff_id: blob.digest,
            content: blob.content,
            spool: blob.spool,
        })
    }
}

impl Write for PlainLayerWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// True for an address of the web, false for a file.
pub fn is_address(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// Makes the layer of a tarball. A compressed tarball stays unchanged if OCI has a media type for its compression.
pub fn of_tarball(source: &ArchiveSource, tmp: &Path) -> Result<NewLayer> {
    let input: Box<dyn Read> = match source {
        ArchiveSource::Stream(stream) => {
            Box::new(stream.try_clone().context(|| "cannot duplicate a stream")?)
        }
        ArchiveSource::File(path) => match path.to_str() {
            Some(text) if is_address(text) => fetch(text)?,
            _ => Box::new(File::open(path).context(|| "cannot open it")?),
        },
    };
    let (compression, mut stream) = sniff(input)?;
    let media_type = match (compression, compression.oci_layer()) {
        (Compression::None, _) | (_, None) => {
            let mut writer = LayerWriter::new(tmp)?;
            copy(&mut compression.decode(stream)?, &mut writer, tmp)?;
            return writer.finish();
        }
        (_, Some(media_type)) => media_type,
    };
    let mut sink = HashingFile::new(tmp)?;
    copy(&mut stream, &mut sink, tmp)?;
    let blob = sink.finish().map_err(|error| files::cannot_write(error, tmp))?;
    let mut diff = Hasher::new(Algorithm::Sha256);
    io::copy(&mut compression.decode(blob.content.clone())?, &mut diff)
        .context(|| "cannot decompress it")?;
    let descriptor = Descriptor::new(media_type, blob.digest, blob.size);
    let (content, spool) = (blob.content, blob.spool);
    Ok(NewLayer { descriptor, diff_id: diff.finish(), content, spool })
}

/// [`io::copy`] whose error tells which of the two sides failed.
fn copy(from: &mut dyn Read, to: &mut dyn Write, tmp: &Path) -> Result<()> {
    let mut room = vec![0; 256 << 10];
    loop {
        let length = match from.read(&mut room) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context(|| "cannot read it"),
        };
        let written = to.write_all(room.get(..length).unwrap_or_default());
        written.map_err(|error| files::cannot_write(error, tmp))?;
    }
}
