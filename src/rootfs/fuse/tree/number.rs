//! Inode numbers: a file has one number for the life of the mount, whatever layer it moves to.
//!
//! A number is the real inode number, with the index of its file system in the highest bits when layers lie on several.
//! A copy made by a copy-up keeps the number of the lower file.

use std::collections::HashMap;

use parking_lot::{Mutex, RwLock};

use super::node::ROOT;

/// Real file: its file system and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RealFile {
    /// st_dev
    pub dev: u64,
    /// st_ino
    pub ino: u64,
}

/// Largest width of a real number, in bits; larger numbers go into a table.
const OWN_BITS: u32 = 48;

/// Numbers given to files.
#[derive(Default)]
pub struct InodeNumbers {
    devices: RwLock<Vec<u64>>,
    /// Numbers of copied-up files, by the real file in the upper layer.
    copied: RwLock<HashMap<RealFile, u64>>,
    /// Numbers for real numbers that are too large.
    large: Mutex<HashMap<RealFile, u64>>,
}

impl InodeNumbers {
    /// Returns the number of a real file.
    pub fn of(&self, real: RealFile) -> u64 {
        if let Some(number) = self.copied.read().get(&real) {
            return *number;
        }
        let device = self.device(real.dev);
        // 1 is the root of every FUSE mount, and 0 means "no such file".
        if real.ino > ROOT && real.ino >> OWN_BITS == 0 && device < 0x7fff {
            return device << OWN_BITS | real.ino;
        }
        let mut large = self.large.lock();
        let next = 0x7fff << OWN_BITS | (large.len() as u64 + 2);
        *large.entry(real).or_insert(next)
    }

    fn device(&self, dev: u64) -> u64 {
        let place = |devices: &[u64]| devices.iter().position(|known| *known == dev);
        if let Some(index) = place(&self.devices.read()) {
            return index as u64;
        }
        let mut devices = self.devices.write();
        place(&devices).unwrap_or_else(|| {
            devices.push(dev);
            devices.len() - 1
        }) as u64
    }

    /// Gives the copy `upper` the number of its original.
    pub fn keep(&self, upper: RealFile, number: u64) {
        self.copied.write().insert(upper, number);
    }

    /// Forgets the number of a removed file: its real number may return for another file.
    pub fn release(&self, upper: RealFile) {
        if self.copied.read().contains_key(&upper) {
            self.copied.write().remove(&upper);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_real_ones_on_one_file_system_and_never_clash() {
        let numbers = InodeNumbers::default();
        let real = |dev, ino| RealFile { dev, ino };
        assert_eq!(numbers.of(real(8, 77)), 77);
        assert_ne!(numbers.of(real(9, 77)), 77);
        assert_eq!(numbers.of(real(9, 77)), numbers.of(real(9, 77)));
        for odd in [0, 1, 1 << 60, u64::MAX] {
            let number = numbers.of(real(8, odd));
            assert!(number > 1, "{odd}");
            assert_eq!(number, numbers.of(real(8, odd)));
            assert_ne!(number, numbers.of(real(9, odd)));
        }
    }

    #[test]
    fn a_copy_goes_by_the_number_of_its_original_until_it_is_gone() {
        let numbers = InodeNumbers::default();
        let (lower, upper) = (RealFile { dev: 1, ino: 5 }, RealFile { dev: 1, ino: 6 });
        numbers.keep(upper, numbers.of(lower));
        assert_eq!(numbers.of(upper), 5);
        numbers.release(upper);
        assert_eq!(numbers.of(upper), 6);
    }
}
