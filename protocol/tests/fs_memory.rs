//! What a large directory and hostile lists cost. One test, so that nothing else allocates meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use ft_protocol::RemotePath;
use ft_protocol::fs::{Filter, Kind, MAX_FILTER, MAX_NAMES_BYTES, Names, Root, Visit, Walk};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const FILES: usize = 100_000;
const MIB: usize = 1 << 20;

/// Most bytes that were allocated at any time while this ran, beyond what was before.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    ALLOCATED.reset_peak_usage();
    let before = ALLOCATED.current_usage();
    let done = work();
    (done, ALLOCATED.peak_usage() - before)
}

#[test]
fn memory_is_that_of_the_names_of_one_directory_and_bounded_for_hostile_lists() {
    let temp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    for at in 0..FILES {
        std::fs::File::create(temp.path().join(format!("file-{at:06}"))).unwrap();
    }
    let root = Root::open(temp.path()).unwrap();
    let (files, most) = peak(|| {
        let mut last = Vec::new();
        let mut files = 0;
        for visit in Walk::new(root, Filter::default(), None) {
            let Visit::Found(found) = visit else { panic!("{visit:?}") };
            assert!(found.path.is_root() || found.path.as_bytes() > last.as_slice());
            files += usize::from(found.meta.kind == Kind::File);
            last = found.path.as_bytes().to_vec();
        }
        files
    });
    assert_eq!(files, FILES);
    assert!(most < 5 * MIB, "{most} bytes for names of {} bytes", FILES * "file-000000".len());

    // Each way to make much of few bytes: short components, sets, single characters, many rules.
    let hostile = ["?/", "a/", "**/a/", "[a]", "?a", "**"].map(|text| {
        [b"-".as_slice(), &text.as_bytes().repeat((MAX_FILTER - 3) / text.len()), b"b\0"].concat()
    });
    for rules in hostile.into_iter().chain([b"-?\0".repeat(4096)]) {
        let (filter, most) = peak(|| Filter::from_wire(&rules).unwrap());
        assert!(most < 32 * MIB, "{most} bytes for a filter that begins {:?}", &rules[..8]);
        assert!(!filter.excludes(&RemotePath::from_wire(b"c/cc").unwrap(), false));
    }
    let distinct: Vec<u8> =
        (0..MAX_NAMES_BYTES / 8).flat_map(|at| format!("{at:07}\0").into_bytes()).collect();
    let (refused, most) = peak(|| Names::from_wire(&distinct).is_err());
    assert!(refused && most < MIB, "{most} bytes for too many paths");
    let (names, most) = peak(|| Names::from_wire(&distinct[..8 * 1_000_000]).unwrap());
    assert!(names.paths().len() == 1_000_000 && most < 128 * MIB, "{most} bytes for as many as may be");
}
