//! Options of `usnea mount squashfs`, in the manner of mount(8).

use crate::error::{Error, Result};
use crate::fail;
use crate::rootfs::fuse::mount_options::{GenericOptions, each_option};
use crate::sys::mount::Attributes;

/// Parsed options.
#[derive(Debug, Default)]
pub struct ImageOptions {
    /// `offset`: start of the image in its file, in bytes.
    pub offset: u64,
    /// Options of any mount.
    pub mount: GenericOptions,
}

impl ImageOptions {
    /// Parses the options. The mount is read-only and has no device files, whatever the options. Errors: an option is
    /// unknown or has an invalid value.
    pub fn parse(texts: &[String]) -> Result<Self> {
        let mut options = Self::default();
        each_option(texts, |name, value| options.take(name, value))?;
        let always = Attributes::READ_ONLY.with(Attributes::NO_DEV);
        options.mount.attributes = options.mount.attributes.with(always);
        // Read-only as a file system too: a remount of one mount must not lead to writes.
        options.mount.flags.push("ro".to_owned());
        Ok(options)
    }

    fn take(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        match (name, value) {
            ("offset", Some(bytes)) => match bytes.parse() {
                Ok(offset) => self.offset = offset,
                Err(_) => fail!(Invalid: "offset={bytes}: expected a number of bytes"),
            },
            // Words of the kernel's squashfs and of squashfuse that change nothing which is seen.
            ("loop", None) | ("errors", Some("continue")) | ("threads", Some(_)) => {}
            (name, value) if self.mount.take(name, value)? => {}
            _ => {
                let hint = "known are offset, uidmapping, gidmapping, X-mount.idmap, fsname, and those of mount(8) \
                            for every file system";
                return Err(Error::invalid(format!("'{name}' is no option of an image")).hint(hint));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<ImageOptions> {
        ImageOptions::parse(&[text.to_owned()])
    }

    #[test]
    fn an_image_is_read_only_and_without_devices_whatever_is_said() {
        for text in ["", "rw", "dev,rw", "loop,threads=single,errors=continue"] {
            let options = parsed(text).unwrap();
            assert_eq!(
                options.mount.attributes,
                Attributes::READ_ONLY.with(Attributes::NO_DEV),
                "{text}"
            );
            assert_eq!(options.mount.flags, ["ro"], "{text}");
        }
        let options = parsed("nosuid,offset=40960,fsname=x").unwrap();
        assert!(options.mount.attributes.contains(Attributes::NO_SUID));
        assert_eq!(options.offset, 40960);
    }

    #[test]
    fn unknown_options_and_numbers_that_are_none_are_refused() {
        for wrong in ["offset", "offset=", "offset=-1", "offset=1k", "lowerdir=/a", "bogus"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
