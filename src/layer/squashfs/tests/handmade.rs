//! Images written by hand, which contradict themselves as no tool's do.

use rustix::io::Errno;

use super::super::format::*;
use super::*;

/// Tables of an image, uncompressed, each in one metadata block. The first inode is the root.
#[derive(Default)]
struct Handmade {
    data: Vec<u8>,
    inodes: Vec<u8>,
    listings: Vec<u8>,
    fragments: Vec<FragmentEntry>,
}

/// Entry of a folder: offset of the inode, kind, name.
type Named<'a> = (u16, InodeKind, &'a [u8]);

impl Handmade {
    fn header(&mut self, kind: u16) -> u16 {
        let offset = self.inodes.len() as u16;
        let number = u32::from(offset) + 1;
        let header = InodeHeader { kind, mode: 0o755, uid: 0, gid: 0, mtime: 1, number };
        self.inodes.extend(header.to_bytes());
        offset
    }

    /// Adds an inode, and returns its offset.
    fn inode(&mut self, kind: u16, content: &[u8]) -> u16 {
        let offset = self.header(kind);
        self.inodes.extend_from_slice(content);
        offset
    }

    /// Adds a folder, whose listing has `surplus` bytes less than it claims.
    fn folder(&mut self, entries: &[Named<'_>], surplus: u32) -> u16 {
        let start = self.listings.len();
        let count = (entries.len() as u32).wrapping_sub(1);
        let header = FolderHeader { count, block: 0, number: 1 };
        self.listings.extend(header.to_bytes());
        for (offset, kind, name) in entries {
            let name_size = name.len() as u16 - 1;
            let (offset, number, kind) = (*offset, *offset as i16, kind.basic());
            let entry = FolderEntryHeader { offset, number, kind, name_size };
            self.listings.extend(entry.to_bytes());
            self.listings.extend_from_slice(name);
        }
        let size = (self.listings.len() - start) as u32 + LISTING_SURPLUS + surplus;
        let folder = ExtendedFolder {
            nlink: 2,
            size,
            block: 0,
            parent: 1,
            index_count: 0,
            offset: start as u16,
            xattrs: NO_XATTRS,
        };
        self.inode(InodeKind::Folder.extended(), &folder.to_bytes())
    }

    fn file(&mut self, size: u64, words: &[BlockWord]) -> u16 {
        self.file_with_tail(size, words, NO_FRAGMENT)
    }

    fn file_with_tail(&mut self, size: u64, words: &[BlockWord], fragment: u32) -> u16 {
        let start = Superblock::SIZE as u64;
        let xattrs = NO_XATTRS;
        let file = ExtendedFile { start, size, sparse: 0, nlink: 1, fragment, offset: 0, xattrs };
        let words = words.iter().flat_map(|word| word.0.to_le_bytes());
        let content: Vec<u8> = file.to_bytes().into_iter().chain(words).collect();
        self.inode(InodeKind::File.extended(), &content)
    }

    fn build(&self, root: u16) -> Vec<u8> {
        let mut image = vec![0; Superblock::SIZE];
        image.extend_from_slice(&self.data);
        let block = |image: &mut Vec<u8>, content: &[u8]| {
            let start = image.len() as u64;
            image.extend(MetadataHeader::uncompressed(content.len() as u16).0.to_le_bytes());
            image.extend_from_slice(content);
            start
        };
        let list = |image: &mut Vec<u8>, start: u64| {
            image.extend(start.to_le_bytes());
            image.len() as u64 - 8
        };
        let inode_table = block(&mut image, &self.inodes);
        let folder_table = block(&mut image, &self.listings);
        let entries: Vec<u8> = self.fragments.iter().flat_map(FragmentEntry::to_bytes).collect();
        let fragments = block(&mut image, &entries);
        let fragment_table = list(&mut image, fragments);
        let ids = block(&mut image, &0u32.to_le_bytes());
        let id_table = list(&mut image, ids);
        let superblock = Superblock {
            magic: MAGIC,
            inode_count: 3,
            mtime: 1,
            block_size: SMALLEST_BLOCK,
            fragment_count: self.fragments.len() as u32,
            codec: SquashfsCodec::Zstd.number(),
            block_log: 12,
            flags: 0,
            id_count: 1,
            version_major: VERSION_MAJOR,
            version_minor: VERSION_MINOR,
            root: InodeRef::new(0, root).raw(),
            bytes_used: image.len() as u64,
            id_table,
            xattr_table: NO_TABLE,
            inode_table,
            folder_table,
            fragment_table,
            export_table: NO_TABLE,
        };
        image[..Superblock::SIZE].copy_from_slice(&superblock.to_bytes());
        image
    }

    fn open(&self, root: u16) -> Arc<SquashfsImage> {
        open_bytes(&self.build(root)).unwrap()
    }
}

#[test]
fn a_handmade_image_is_read() {
    let mut image = Handmade { data: noise(4096 + 100), ..Handmade::default() };
    let words = [BlockWord::uncompressed(4096), BlockWord::uncompressed(100)];
    let file = image.file(4196, &words);
    let top = image.folder(&[(file, InodeKind::File, b"file")], 0);
    let opened = image.open(top);
    let folder = root(&opened);
    assert_eq!(names(&folder), ["file"]);
    let file = folder.open_file("file".as_ref()).unwrap();
    assert!(content(&file) == image.data);
    assert_eq!(folder.own_xattr_names(), Ok(vec![]));
}

#[test]
fn a_folder_that_contains_itself_has_an_end() {
    let mut image = Handmade::default();
    // The folder comes first, at offset 0; its child lists it.
    let top = image.folder(&[(0, InodeKind::Folder, b"loop")], 0);
    let opened = image.open(top);
    let folder = root(&opened);
    assert_eq!(folder.open_folder("loop".as_ref()).err(), Some(Errno::IO));
    assert_eq!(names(&folder), ["loop"]);
}

#[test]
fn sizes_that_nothing_holds_are_errors_without_memory() {
    let mut image = Handmade::default();
    let endless = image.file(u64::MAX, &[]);
    let long = image.file(1 << 40, &[BlockWord::HOLE]);
    let short = image.file(9000, &[]);
    let link = SymlinkInode { nlink: 1, target_size: u32::MAX };
    let link = image.inode(InodeKind::Symlink.basic(), &link.to_bytes());
    let inner = image.folder(&[(short, InodeKind::File, b"one")], u32::MAX - 100);
    let entries: [Named<'_>; 5] = [
        (endless, InodeKind::File, b"endless"),
        (inner, InodeKind::Folder, b"inner"),
        (link, InodeKind::Symlink, b"link"),
        (long, InodeKind::File, b"long"),
        (short, InodeKind::File, b"short"),
    ];
    let top = image.folder(&entries, 0);
    let opened = image.open(top);
    let folder = root(&opened);
    let mut buffer = [0; 100];
    for name in ["endless", "long"] {
        assert_eq!(folder.open_file(name.as_ref()).err(), Some(Errno::IO), "{name}");
    }
    // Words of the next inodes are taken for blocks: those are wrong.
    let short = folder.open_file("short".as_ref()).unwrap();
    assert_eq!(short.read_at(&mut buffer, 8192), Err(Errno::IO));
    assert_eq!(folder.stat("link".as_ref()).err(), Some(Errno::IO));
    let inner = folder.open_folder("inner".as_ref()).unwrap();
    let mut count = 0;
    assert_eq!(inner.for_each_entry(|_, _, _| count += 1), Err(Errno::IO));
    assert!(count < 100, "{count}");
    assert_eq!(folder.stat("endless".as_ref()).unwrap().st_size, i64::MAX);
}

#[test]
fn names_that_no_file_can_have_are_errors() {
    for name in [&b"."[..], b"..", b"a/b", b"/", b"a\0b", &[b'x'; 256]] {
        let mut image = Handmade::default();
        let file = image.file(0, &[]);
        let top = image.folder(&[(file, InodeKind::File, b"A"), (file, InodeKind::File, name)], 0);
        let opened = image.open(top);
        let mut seen = 0;
        let listed = root(&opened).for_each_entry(|_, _, _| seen += 1);
        assert_eq!((listed, seen), (Err(Errno::IO), 1), "{name:?}");
    }
}

#[test]
fn blocks_outside_of_the_image_and_of_wrong_sizes_are_errors() {
    for word in [
        BlockWord::uncompressed(4096),
        BlockWord::uncompressed(4097),
        BlockWord::compressed(4096),
        BlockWord::compressed(5),
        BlockWord::uncompressed(7),
        BlockWord(u32::MAX),
    ] {
        let mut image = Handmade { data: noise(10), ..Handmade::default() };
        let file = image.file(4000, &[word]);
        let top = image.folder(&[(file, InodeKind::File, b"file")], 0);
        let opened = image.open(top);
        let file = root(&opened).open_file("file".as_ref()).unwrap();
        assert_eq!(file.read_at(&mut [0; 10], 0), Err(Errno::IO), "{word:?}");
    }
}

#[test]
fn tails_outside_of_their_fragments_are_errors() {
    let mut image = Handmade { data: noise(3000), ..Handmade::default() };
    let start = Superblock::SIZE as u64;
    let word = BlockWord::uncompressed(3000).0;
    image.fragments.push(FragmentEntry { start, word, unused: 0 });
    image.fragments.push(FragmentEntry { start: u64::MAX, word, unused: 0 });
    image.fragments.push(FragmentEntry { start, word: 0, unused: 0 });
    let files = [(3000, 0), (3001, 0), (10, 1), (10, 2), (10, 3)]
        .map(|(size, fragment)| image.file_with_tail(size, &[], fragment));
    let [good, beyond, outside, empty, missing] = files;
    let entries: [Named<'_>; 5] = [
        (beyond, InodeKind::File, b"beyond"),
        (empty, InodeKind::File, b"empty"),
        (good, InodeKind::File, b"good"),
        (missing, InodeKind::File, b"missing"),
        (outside, InodeKind::File, b"outside"),
    ];
    let top = image.folder(&entries, 0);
    let opened = image.open(top);
    let folder = root(&opened);
    let read = |name: &str| {
        let mut buffer = vec![0; 4096];
        let file = folder.open_file(name.as_ref()).unwrap();
        file.read_at(&mut buffer, 0).map(|count| buffer[..count].to_vec())
    };
    assert!(read("good").unwrap() == image.data);
    for name in ["beyond", "empty", "missing", "outside"] {
        assert_eq!(read(name), Err(Errno::IO), "{name}");
    }
}

#[test]
fn a_location_from_outside_is_checked() {
    let mut image = Handmade::default();
    let top = image.folder(&[], 0);
    let bytes = image.build(top);
    let opened = open_bytes(&bytes).unwrap();
    for raw in [u64::MAX, 1, 0xffff, 1 << 16, 1 << 48, bytes.len() as u64] {
        assert!(opened.inode(InodeRef::from_raw(raw)).is_err(), "{raw:#x}");
    }
    assert!(opened.inode(opened.root()).is_ok());
    assert_eq!([0, 1, 2].map(InodeRef::from_node_id), [None, None, Some(InodeRef::from_raw(0))]);
    let far = InodeRef::new(u32::MAX, u16::MAX);
    assert_eq!(InodeRef::from_node_id(far.node_id()), Some(far));
}

#[test]
fn superblocks_are_refused_with_the_reason() {
    let mut image = Handmade::default();
    let top = image.folder(&[], 0);
    let good = image.build(top);
    let refused = |change: &dyn Fn(&mut Superblock)| {
        let mut superblock = Superblock::parse(good.first_chunk().unwrap());
        change(&mut superblock);
        let mut bytes = good.clone();
        bytes[..Superblock::SIZE].copy_from_slice(&superblock.to_bytes());
        open_bytes(&bytes).err().expect("refused")
    };
    let hints = |error: &crate::error::Error| error.hint_text().is_some();
    let lzo = refused(&|it| it.codec = SquashfsCodec::Lzo.number());
    assert!(lzo.to_string().contains("lzo") && hints(&lzo), "{lzo}");
    let lzma = refused(&|it| it.codec = SquashfsCodec::Lzma.number());
    assert!(lzma.to_string().contains("lzma") && hints(&lzma), "{lzma}");
    let version = refused(&|it| it.version_major = 3);
    assert!(version.to_string().contains("3.0") && hints(&version), "{version}");
    let truncated = refused(&|it| it.bytes_used += 1);
    assert!(truncated.to_string().contains("truncated") && hints(&truncated), "{truncated}");
    type Change<'a> = &'a dyn Fn(&mut Superblock);
    let changes: [(Change<'_>, &str); 13] = [
        (&|it| it.magic = 1, "magic"),
        (&|it| it.codec = 9, "unknown"),
        (&|it| it.block_size = 2048, "2048"),
        (&|it| it.block_log = 13, "4096"),
        (&|it| it.block_log = u16::MAX, "4096"),
        (&|it| it.id_count = 0, "IDs"),
        (&|it| it.id_table = u64::MAX - 1, "IDs"),
        (&|it| it.inode_table = u64::MAX, "inodes"),
        (&|it| it.folder_table = it.inode_table, "inodes"),
        (&|it| it.root = u64::MAX, "inodes"),
        (&|it| it.fragment_count = u32::MAX, "fragments"),
        (&|it| it.xattr_table = it.bytes_used, "extended attributes"),
        (&|it| it.bytes_used = 10, "inodes"),
    ];
    for (change, word) in changes {
        let error = refused(change);
        assert!(error.to_string().contains(word), "{error} lacks {word}");
    }
    assert!(open_bytes(&good[..50]).err().unwrap().to_string().contains("shorter"));
    assert!(open_bytes(b"").is_err());
    let folder = File::open("/").unwrap();
    assert!(SquashfsImage::open(folder.into(), 0, CacheLimits::default()).is_err());
    let beyond = SquashfsImage::open(in_memory(&good), u64::MAX, CacheLimits::default());
    assert!(beyond.is_err());
}
