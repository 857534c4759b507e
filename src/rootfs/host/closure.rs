//! Computes the set of files for programs: the program, its interpreter and its libraries as the loader would find
//! them. Adds the files from the table of `extras`, and their libraries, until the set stops growing.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::elf::Elf;
use super::extras::{self, FilledExtra};
use super::ldso::{ElfObject, Loader};
use super::program;
use super::tree::{HostTree, NoteScope, TakenFile};
use crate::error::{Context, Error, Result};
use crate::fail;

/// The kernel's limit for scripts whose interpreter is a script (exec_binprm).
const MOST_INTERPRETERS: u32 = 5;

/// Environment of the search.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// PATH.
    pub search: Option<OsString>,
    /// TERM.
    pub term: Option<String>,
}

/// Growing set of files.
pub struct Closure {
    /// Files taken up to now.
    pub tree: HostTree,
    surroundings: Surroundings,
    elves: HashMap<PathBuf, Option<Rc<Elf>>>,
    loaders: HashMap<PathBuf, Rc<Loader>>,
    programs: HashSet<PathBuf>,
    libraries: HashSet<PathBuf>,
    plugins: HashSet<PathBuf>,
    found: VecDeque<ClosureFile>,
}

/// Program with its loader: plugins are loaded into it.
struct LoadedProgram {
    object: ElfObject,
    loader: Rc<Loader>,
}

/// File that may match a row of the table.
struct ClosureFile {
    /// Name under which a library was found; `None` for a program.
    library: Option<OsString>,
    real: PathBuf,
    main: Option<Rc<LoadedProgram>>,
}

/// Consequence of a missing library.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MissingLibrary {
    /// Error: the program would not start.
    Fails,
    /// Accepted: a plugin may never be loaded.
    Tolerated,
}

impl Closure {
    /// Makes an empty set.
    pub fn new(surroundings: Surroundings) -> Self {
        Self {
            tree: HostTree::default(),
            surroundings,
            elves: HashMap::new(),
            loaders: HashMap::new(),
            programs: HashSet::new(),
            libraries: HashSet::new(),
            plugins: HashSet::new(),
            found: VecDeque::new(),
        }
    }

    /// Takes a program, by name or absolute path, with everything it needs. Returns its path.
    pub fn add(&mut self, requested: &str) -> Result<PathBuf> {
        let path =
            program::find(requested, self.surroundings.search.as_deref(), &mut self.tree.seen)?;
        self.add_program(&path, 0)?;
        while let Some(found) = self.found.pop_front() {
            self.add_extras(&found);
        }
        Ok(path)
    }

    /// Takes a program with its interpreters and libraries, without the files from the table.
    pub fn add_program(&mut self, path: &Path, depth: u32) -> Result<()> {
        let taken = self
            .tree
            .take(path, NoteScope::Each)
            .context(|| format!("cannot use {}", path.display()))?;
        if let Some(place) =
            ["/proc", "/sys", "/dev"].iter().find(|place| taken.real.starts_with(place))
        {
            fail!(Invalid: "{} is in {place}, which the container has anew", taken.real.display());
        }
        if !self.programs.insert(taken.real.clone()) {
            return Ok(());
        }
        match self.elf(&taken.real)? {
            Some(elf) => self.add_elf(path, taken.real, elf),
            None => self.add_script(path, &taken.real, depth),
        }
    }

    fn add_script(&mut self, path: &Path, real: &Path, depth: u32) -> Result<()> {
        let script = program::script(real).context(|| format!("cannot use {}", path.display()))?;
        let Some(script) = script else {
            fail!(Invalid: "{} is neither an ELF program nor a script with a #! line", path.display());
        };
        if depth == MOST_INTERPRETERS {
            fail!(Invalid: "{} is a script of a script, more than {MOST_INTERPRETERS} deep", path.display());
        }
        self.found.push_back(ClosureFile { library: None, real: real.to_owned(), main: None });
        let needed_by = || {
            format!("interpreter {} (needed by {})", script.interpreter.display(), path.display())
        };
        self.add_program(&script.interpreter, depth + 1).context(needed_by)?;
        if let Some(name) = &script.by_env {
            let search = self.surroundings.search.as_deref();
            program::find(name, search, &mut self.tree.seen)
                .and_then(|found| self.add_program(&found, depth + 1))
                .context(|| format!("interpreter {name} (needed by {})", path.display()))?;
        }
        Ok(())
    }

    fn add_elf(&mut self, path: &Path, real: PathBuf, elf: Rc<Elf>) -> Result<()> {
        if !elf.target.runs_here() {
            let theirs = elf.target.name();
            fail!(Invalid: "{} is a program for {theirs}, and this machine is {}",
                path.display(),
                std::env::consts::ARCH
            );
        }
        let main = match &elf.interpreter {
            Some(interpreter) => {
                let loader = self.loader(interpreter, &elf).context(|| {
                    format!("loader {} (needed by {})", interpreter.display(), path.display())
                })?;
                let object =
                    ElfObject { path: real.clone(), elf: Rc::clone(&elf), loaded_by: None };
                let main = Rc::new(LoadedProgram { object, loader });
                self.add_libraries(&main, None, MissingLibrary::Fails)?;
                Some(main)
            }
            // A static program searches no library at start. A library called as a program is not known to search,
            // either.
            None => None,
        };
        self.found.push_back(ClosureFile { library: None, real, main });
        Ok(())
    }

    /// Takes the loader that a program names. Errors: missing, or for another machine than the program.
    fn loader(&mut self, interpreter: &Path, program: &Elf) -> Result<Rc<Loader>> {
        let taken = self.tree.take(interpreter, NoteScope::Each)?;
        if let Some(loader) = self.loaders.get(interpreter) {
            return Ok(Rc::clone(loader));
        }
        match self.elf(&taken.real)? {
            Some(elf) if elf.target == program.target => {}
            Some(elf) => {
                fail!("it is for {}, the program for {}", elf.target.name(), program.target.name())
            }
            None => fail!("it is no ELF file"),
        }
        let loader =
            Rc::new(Loader::new(interpreter, &taken.real, program.target, &mut self.tree.seen));
        self.loaders.insert(interpreter.to_owned(), Rc::clone(&loader));
        let library = interpreter.file_name().map(OsStr::to_owned);
        self.found.push_back(ClosureFile { library, real: taken.real, main: None });
        Ok(loader)
    }

    /// Takes the libraries of a program, or of a `plugin` that it loads, breadth first as the loader does.
    fn add_libraries(
        &mut self,
        main: &Rc<LoadedProgram>,
        plugin: Option<ElfObject>,
        missing: MissingLibrary,
    ) -> Result<()> {
        let mut names = already_loaded(main);
        let first = usize::from(plugin.is_some());
        let mut objects: Vec<ElfObject> =
            std::iter::once(main.object.clone()).chain(plugin).collect();
        let mut by = first;
        while by < objects.len() {
            for name in objects[by].elf.needed.clone() {
                if main.loader.provides(&name) || !names.insert(name.clone()) {
                    continue;
                }
                match self.search(main, &objects, by, &name)? {
                    Some(object) => {
                        names.extend(object.elf.soname.clone());
                        if !objects.iter().any(|other| other.path == object.path) {
                            objects.push(object);
                        }
                    }
                    None => say_missing(&name, &objects[by].path, missing)?,
                }
            }
            by += 1;
        }
        Ok(())
    }

    /// Searches one library and takes it, with its variants for other processors.
    fn search(
        &mut self,
        main: &Rc<LoadedProgram>,
        objects: &[ElfObject],
        by: usize,
        name: &OsStr,
    ) -> Result<Option<ElfObject>> {
        for path in main.loader.places(objects, by, name) {
            let needed_by =
                || format!("library {} (needed by {})", name.display(), objects[by].path.display());
            match self.elf(&path).context(needed_by)? {
                Some(elf) if elf.target == main.object.elf.target => {
                    self.take_library(main, &path, name)?;
                    return Ok(Some(ElfObject { path, elf, loaded_by: Some(by) }));
                }
                // No file, or one of another machine: the loader goes on, and so will the next start.
                _ => self.tree.seen.note_state_of(&path),
            }
        }
        Ok(None)
    }

    fn take_library(&mut self, main: &Rc<LoadedProgram>, path: &Path, name: &OsStr) -> Result<()> {
        let taken = self
            .tree
            .take(path, NoteScope::Each)
            .context(|| format!("cannot use {}", path.display()))?;
        for variant in main.loader.variants(name) {
            // The cache may name a variant that no longer exists.
            let _ = self.tree.take(&variant, NoteScope::Each);
        }
        let library = path.file_name().map(OsStr::to_owned);
        self.found.push_back(ClosureFile {
            library,
            real: taken.real,
            main: Some(Rc::clone(main)),
        });
        Ok(())
    }

    fn add_extras(&mut self, found: &ClosureFile) {
        let term = self.surroundings.term.as_deref();
        let wanted = match &found.library {
            // Each program that needs a library finds it once more.
            Some(_) if !self.libraries.insert(found.real.clone()) => return,
            Some(name) => extras::of_library(name, &found.real, term),
            None => extras::of_program(&found.real, term),
        };
        for wanted in wanted {
            match (wanted, &found.main) {
                (FilledExtra::Path(pattern, except), main) => {
                    self.add_paths(&pattern, except, main.as_ref())
                }
                (FilledExtra::Library(name), Some(main)) => {
                    if let Err(error) = self.add_dlopened(&name, main) {
                        log::debug!("library {}: {error}", name.display());
                    }
                }
                (FilledExtra::Library(_), None) => {}
            }
        }
    }

    fn add_dlopened(&mut self, name: &OsStr, main: &Rc<LoadedProgram>) -> Result<()> {
        match self.search(main, std::slice::from_ref(&main.object), 0, name)? {
            Some(library) => self.add_libraries(main, Some(library), MissingLibrary::Tolerated),
            None => Ok(()),
        }
    }

    fn add_paths(&mut self, pattern: &Path, except: &[&str], main: Option<&Rc<LoadedProgram>>) {
        let seen = &mut self.tree.seen;
        for path in extras::paths(pattern, |folder| seen.note_state_of(folder)) {
            let files = match self.tree.take_all(&path, except) {
                Ok(files) => files,
                Err(error) => {
                    // A missing file, such as a configuration file or a package's data, may appear later.
                    self.tree.seen.note_state_of(&path);
                    log::debug!("the host has no {}: {error}", path.display());
                    continue;
                }
            };
            for file in files.iter().filter(|file| may_be_plugin(file)) {
                if let Some(main) = main
                    && let Err(error) = self.add_plugin(file, main)
                {
                    log::debug!("plugin {}: {error}", file.real.display());
                }
            }
        }
    }

    fn add_plugin(&mut self, file: &TakenFile, main: &Rc<LoadedProgram>) -> Result<()> {
        if !self.plugins.insert(file.real.clone()) {
            return Ok(());
        }
        match self.elf(&file.real)? {
            // A program among the data (git's helpers) has its own loader and libraries.
            Some(elf) if elf.interpreter.is_some() => {
                let interpreter = elf.interpreter.clone().unwrap_or_default();
                let loader = self.loader(&interpreter, &elf)?;
                let object = ElfObject { path: file.real.clone(), elf, loaded_by: None };
                self.add_libraries(
                    &Rc::new(LoadedProgram { object, loader }),
                    None,
                    MissingLibrary::Tolerated,
                )
            }
            Some(elf) if elf.target == main.object.elf.target => {
                let object = ElfObject { path: file.real.clone(), elf, loaded_by: Some(0) };
                self.add_libraries(main, Some(object), MissingLibrary::Tolerated)
            }
            _ => Ok(()),
        }
    }

    /// Reads the ELF file at `path`, once. `None`: no file, or no ELF file.
    fn elf(&mut self, path: &Path) -> Result<Option<Rc<Elf>>> {
        if let Some(known) = self.elves.get(path) {
            return Ok(known.clone());
        }
        let elf = read_elf(path).context(|| path.display().to_string())?.map(Rc::new);
        self.elves.insert(path.to_owned(), elf.clone());
        Ok(elf)
    }
}

fn read_elf(path: &Path) -> io::Result<Option<Elf>> {
    // Checked before the file is opened: opening a FIFO would wait.
    if !path.is_file() {
        return Ok(None);
    }
    match File::open(path) {
        Ok(file) => Elf::read(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the names under which the loader knows itself: libc needs it by name.
fn already_loaded(main: &LoadedProgram) -> HashSet<OsString> {
    let interpreter = main.object.elf.interpreter.as_deref();
    interpreter.and_then(Path::file_name).map(OsStr::to_owned).into_iter().collect()
}

fn may_be_plugin(file: &TakenFile) -> bool {
    let name = file.real.file_name().unwrap_or_default().to_string_lossy();
    file.mode.is_some_and(|mode| mode & 0o111 != 0) || name.contains(".so")
}

fn say_missing(name: &OsStr, by: &Path, missing: MissingLibrary) -> Result<()> {
    let text = format!("library {} (needed by {}) is not found", name.display(), by.display());
    if missing == MissingLibrary::Tolerated {
        log::debug!("{text}");
        return Ok(());
    }
    Err(Error::new(text).hint(
        "install the package that has it; if the program runs on the host, it is found by LD_LIBRARY_PATH alone, \
         which a container does not have",
    ))
}
