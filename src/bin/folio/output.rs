//! Files that a command writes: each appears under its name when it is whole, and never in place of a database.

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::failure::Failure;

/// Long writes, and few of them.
pub const BUFFER_LEN: usize = 1 << 18;

/// How a database begins.
const MAGIC: &[u8] = b"folio\r\n\0";

/// A file that is being written.
pub struct Output {
    file: BufWriter<Target>,
    path: PathBuf,
}

enum Target {
    /// A file beside the one that it will replace, and which one that is.
    Beside(NamedTempFile, PathBuf),
    /// What cannot be replaced, such as /dev/stdout.
    Direct(File),
}

impl Output {
    /// Begins the file `path` of a command that reads `database`.
    pub fn create(path: &Path, database: &Path) -> Result<Output, Failure> {
        if is_same(path, database) || is_database(path) {
            let (shown, itself) =
                (path.display(), if is_same(path, database) { "the database itself" } else { "a database" });
            return Err(Failure::Outside(format!("{shown}: is {itself}; choose another path")));
        }
        let target = Target::open(path).map_err(|error| failed(path, &error))?;
        Ok(Output { file: BufWriter::with_capacity(BUFFER_LEN, target), path: path.to_owned() })
    }

    /// Ends the file and gives it its name. Whoever has an earlier one open keeps all of that.
    pub fn finish(self) -> Result<(), Failure> {
        let Output { file, path } = self;
        let target = file.into_inner().map_err(io::IntoInnerError::into_error);
        target.and_then(Target::finish).map_err(|error| failed(&path, &error))
    }
}

/// Writes the whole file `path` of a command that reads `database`.
pub fn replace(path: &Path, database: &Path, write: impl FnOnce(&mut Output) -> io::Result<()>) -> Result<(), Failure> {
    let mut output = Output::create(path, database)?;
    write(&mut output).map_err(|error| failed(path, &error))?;
    output.finish()
}

impl Target {
    fn open(path: &Path) -> io::Result<Target> {
        match fs::metadata(path) {
            Ok(there) if !there.is_file() => File::options().write(true).open(path).map(Target::Direct),
            // The file that a link leads to, not the link.
            Ok(_) => Target::beside(fs::canonicalize(path)?),
            Err(_) => Target::beside(path.to_owned()),
        }
    }

    fn beside(path: PathBuf) -> io::Result<Target> {
        // A bare file name has an empty parent.
        let dir = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // As readable as any new file; the umask takes off what the user does not want.
        let permissions = Permissions::from_mode(0o666);
        let file = Builder::new().prefix(".folio-").suffix(".tmp").permissions(permissions).tempfile_in(dir)?;
        Ok(Target::Beside(file, path))
    }

    fn finish(self) -> io::Result<()> {
        let Target::Beside(file, path) = self else { return Ok(()) };
        // First the contents, then the name: a power cut leaves the earlier file or the new one.
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
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
            Target::Beside(file, _) => file.write(bytes),
            Target::Direct(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Target::Beside(file, _) => file.flush(),
            Target::Direct(file) => file.flush(),
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ClosedPipe,
        _ => Failure::Outside(format!("{}: cannot be written: {error}; choose another path", path.display())),
    }
}

fn is_same(path: &Path, other: &Path) -> bool {
    match (fs::canonicalize(path), fs::canonicalize(other)) {
        (Ok(path), Ok(other)) => path == other,
        _ => false,
    }
}

fn is_database(path: &Path) -> bool {
    let mut start = [0; MAGIC.len()];
    let is_file = fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    is_file && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == MAGIC
}
