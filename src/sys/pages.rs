//! Memory of a sleeping process: frees the pages of its program. The kernel maps a dozen pages for each needed one
//! (fault-around). Freed pages come back from the page cache when needed.

use std::ffi::{c_int, c_void};
use std::io;

/// Frees all pages of the program's read-only segments. No data is lost: the pages are the file's.
pub fn forget_program() -> io::Result<()> {
    // SAFETY: the callback has the type that dl_iterate_phdr(3) calls, touches only its arguments, and does not unwind.
    match unsafe { libc::dl_iterate_phdr(Some(forget_segments), std::ptr::null_mut()) } {
        1 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Frees the pages of the first object, which is the program; 1 ends the iteration.
unsafe extern "C" fn forget_segments(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    _data: *mut c_void,
) -> c_int {
    let page = rustix::param::page_size();
    // SAFETY: `info` and the headers that it points to are valid during the callback (dl_iterate_phdr(3)).
    let (base, headers) = unsafe {
        let info = &*info;
        (
            info.dlpi_addr as usize,
            std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()),
        )
    };
    let is_read_only = |header: &&libc::Elf64_Phdr| {
        header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0
    };
    for header in headers.iter().filter(is_read_only) {
        // Whole pages: the last of a segment may be shared with writable data.
        let start = (base + header.p_vaddr as usize).next_multiple_of(page);
        let end = (base + (header.p_vaddr + header.p_filesz) as usize) / page * page;
        if end > start {
            // SAFETY: the range lies in a segment that is mapped from the file and was never writable. So each page has
            // the file's content again at its next access (madvise(2), MADV_DONTNEED). A page of a larger size is
            // refused.
            unsafe { libc::madvise(start as *mut c_void, end - start, libc::MADV_DONTNEED) };
        }
    }
    1
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_program_goes_on_with_fewer_pages() {
        let resident = || {
            let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
            let line = text.lines().find(|line| line.starts_with("Pss_File:")).unwrap().to_owned();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
        };
        let before = resident();
        super::forget_program().unwrap();
        let after = resident();
        assert!(after < before, "{before} {after}");
    }
}
