//! A file that a command writes with `--output`: it appears under its name only when it is whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::Failure;

/// Long writes, and few of them.
pub const BUFFER_LEN: usize = 1 << 18;

pub struct Output {
    file: BufWriter<Target>,
    path: PathBuf,
}

enum Target {
    /// Written beside the path, and renamed to it at the end.
    Beside(NamedTempFile),
    /// A device or a pipe, which is nothing to replace.
    Direct(File),
}

impl Output {
    /// Begins the file `path`. It must not be `database`, which would be replaced.
    pub fn create(path: &Path, database: &Path) -> Result<Output, Failure> {
        if is_same(path, database) {
            return Err(Failure::Outside(format!("{}: is the database itself; choose another path", path.display())));
        }
        let is_direct = fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
        let target = if is_direct { File::options().write(true).open(path).map(Target::Direct) } else { beside(path) };
        let target = target.map_err(|error| failed(path, "cannot be written", &error))?;
        Ok(Output { file: BufWriter::with_capacity(BUFFER_LEN, target), path: path.to_owned() })
    }

    /// Ends the file and gives it its name.
    pub fn finish(self) -> Result<(), Failure> {
        let Output { file, path } = self;
        let target = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let Target::Beside(file) = target else { return Ok(()) };
        file.as_file().sync_all().map_err(|error| failed(&path, "cannot be synced", &error))?;
        file.persist(&path).map_err(|error| failed(&path, "cannot be replaced", &error.error))?;
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Target::Beside(file) => file.write(bytes),
            Target::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Target::Beside(file) => file.flush(),
            Target::Direct(file) => file.flush(),
        }
    }
}

fn beside(path: &Path) -> io::Result<Target> {
    // A bare file name has an empty parent.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".folio-").suffix(".tmp");
    // What any new file gets: the umask takes from it, and a temporary file alone would get less.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(directory).map(Target::Beside)
}

fn is_same(path: &Path, other: &Path) -> bool {
    match (fs::canonicalize(path), fs::canonicalize(other)) {
        (Ok(path), Ok(other)) => path == other,
        _ => false,
    }
}

fn failed(path: &Path, what: &str, error: &io::Error) -> Failure {
    Failure::Outside(format!("{}: {what}: {error}; choose another path", path.display()))
}
