//! C structs as the bytes that a program sees.

/// Bytes of the kernel's `struct stat` for this machine's 64-bit architecture.
pub fn stat_bytes(stat: &rustix::fs::Stat) -> &[u8] {
    bytes(stat)
}

/// Bytes of the kernel's `struct statx`.
pub fn statx_bytes(statx: &rustix::fs::Statx) -> &[u8] {
    bytes(statx)
}

fn bytes<T>(value: &T) -> &[u8] {
    // SAFETY: the two structs above are the kernel's own (`repr(C)`), whose padding is named fields, so that every byte
    // is part of a number; and a slice of bytes has no alignment.
    unsafe { std::slice::from_raw_parts((&raw const *value).cast::<u8>(), size_of::<T>()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_structs_have_the_kernels_size() {
        let stat = rustix::fs::stat("/").unwrap();
        let size = if cfg!(target_arch = "aarch64") { 128 } else { 144 };
        assert_eq!(super::stat_bytes(&stat).len(), size);
        let flags = rustix::fs::StatxFlags::BASIC_STATS;
        let statx =
            rustix::fs::statx(rustix::fs::CWD, "/", rustix::fs::AtFlags::empty(), flags).unwrap();
        assert_eq!(super::statx_bytes(&statx).len(), 256);
    }
}
