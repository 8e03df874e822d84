// Files that the reader gave, each with its path, its size in bytes and a function that reads a piece of it.

// What this version of the package says of runs: schemas of files, metrics, tolerances.
const FACTS = JSON.parse(document.getElementById("facts").textContent);

/** An error whose message is a sentence for the reader; `file` is the file that it is about. */
class Fault extends Error {
  constructor(file, message) {
    super(message);
    this.file = file;
  }
}

/** An error of the browser or the page, which says nothing of a run: what it prevents is not checked. */
class Obstacle extends Error {}

/** Return a file of the browser as {path, size, read}; `read(start, end)` resolves to the bytes as a Uint8Array. */
function givenFile(file, path) {
  const read = async (start = 0, end = file.size) => {
    try {
      return new Uint8Array(await file.slice(start, end).arrayBuffer());
    } catch (error) {
      throw new Fault(path, `it cannot be read: ${error.message}`);
    }
  };
  return { path, size: file.size, read };
}

/** Return the files of an <input>, with their paths below the folder that was picked. */
function pickedFiles(input) {
  return [...input.files].map(file => givenFile(file, file.webkitRelativePath || file.name));
}

/** Return all files below the files and folders that were dropped. */
async function droppedFiles(transfer) {
  const found = [];
  const addHandle = async (handle, path) => {
    if (handle.kind === "file") found.push(givenFile(await handle.getFile(), path));
    else for await (const [name, inner] of handle.entries()) await addHandle(inner, `${path}/${name}`);
  };
  const addEntry = async (entry, path) => {
    if (entry.isFile) found.push(givenFile(await new Promise((resolve, reject) => entry.file(resolve, reject)), path));
    else {
      const reader = entry.createReader();
      // A reader returns some entries at a time, and none at the end.
      for (let some; (some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject))).length;) {
        for (const inner of some) await addEntry(inner, `${path}/${inner.name}`);
      }
    }
  };
  // All are asked for before the first wait: afterwards the browser has emptied the list. Chromium reads folders that
  // are dropped on a page from a disk by handles alone, which Firefox does not have.
  const items = [...transfer.items].filter(item => item.kind === "file");
  const adding = items.map(item => {
    const entry = item.webkitGetAsEntry();
    if (!item.getAsFileSystemHandle) return addEntry(entry, entry.name);
    return item.getAsFileSystemHandle().then(handle => addHandle(handle, handle.name));
  });
  await Promise.all(adding);
  return found;
}

/** Return the files, and those inside of zip archives among them, whose paths begin with the archive's. */
async function withContents(files) {
  const archives = files.filter(file => /\.zip$/i.test(file.path));
  const entries = async archive => {
    try {
      return await zipEntries(archive);
    } catch (error) {
      // Somewhere in a folder it may be anybody's.
      if (archive.path.includes("/")) return [];
      throw error;
    }
  };
  return [...files, ...(await Promise.all(archives.map(entries))).flat()];
}

/** Return the text of a file, which must be UTF-8. */
async function readText(file) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(await file.read());
  } catch (error) {
    throw error instanceof Fault ? error : new Fault(file.path, "it is not UTF-8 text");
  }
}
