/**
 * Compiles the executable: TypeScript to C by scriptc, C to one static binary by the system's C compiler.
 *
 * `shimPath()` is for tests, benchmarks and the lab; `node src/build.ts [out]` is for packaging, with `CC` naming another
 * compiler, for example one for arm64.
 *
 * @packageDocumentation
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const run = promisify(execFile)

const root = fileURLToPath(new URL('../', import.meta.url))
const source = (name: string): string => join(root, 'src', name)
const manifest = join(root, 'ffi.json')
const SOURCES: readonly string[] = ['shim.ts', 'decide.ts', 'answers.ts', 'validate.ts', 'protocol.ts', 'libc.ts']

/**
 * Static, because a dynamic binary asks for the C library of the machine that built it, which old hosts do not have;
 * small, because it is loaded anew for every pod.
 */
const FLAGS: readonly string[] = [
  '-static',
  '-Os',
  '-std=c11',
  '-D_GNU_SOURCE',
  '-pthread',
  '-ffunction-sections',
  '-fdata-sections',
  // What scriptc asks for: its numbers and unions rely on them.
  '-fno-math-errno',
  '-fno-strict-aliasing',
  // Warnings in its runtime are not ours to mend.
  '-w',
  '-Wl,--gc-sections',
  '-s',
]

/** The part of scriptc's link recipe that is used. */
interface LinkInfo {
  readonly runtime_pack: {
    readonly root: string
    readonly source_sets: readonly { readonly sources: readonly string[]; readonly include_directories: readonly string[] }[]
  }
  readonly link: { readonly system_libraries: readonly string[] }
}

const scriptc = (): { readonly bin: string; readonly version: string } | undefined => {
  try {
    const require = createRequire(import.meta.url)
    const { version } = require('scriptc/package.json') as { readonly version: string }
    return { bin: join(dirname(require.resolve('scriptc/package.json')), 'dist', 'main.js'), version }
  } catch {
    return undefined
  }
}

/** What the binary depends on, as one text: it is built again when this changes. */
const inputs = async (): Promise<string> => {
  const hash = createHash('sha256').update(FLAGS.join(' '))
  for (const file of [...SOURCES.map(source), manifest]) hash.update(await readFile(file))
  return hash.digest('hex')
}

/**
 * Compiles the executable to `out`. An existing file is replaced in one step, so it may be in use.
 *
 * @param out - path of the binary
 * @param cc - C compiler; that of another architecture makes a binary for that one
 * @throws Error if scriptc is not installed or a compiler fails; the message has what it said
 */
export async function buildShim(out: string, cc = 'cc'): Promise<void> {
  const compiler = scriptc()
  if (compiler === undefined) throw new Error('scriptc is not installed: it is a development dependency of @cni-offload/shim')
  await mkdir(dirname(out), { recursive: true })
  // Beside the target, because a rename cannot cross file systems.
  const work = await mkdtemp(join(dirname(out), '.build-'))
  try {
    const translate = (...args: string[]): Promise<{ stdout: string }> =>
      run(process.execPath, [compiler.bin, 'build', source('shim.ts'), '--ffi', manifest, ...args], { cwd: work, maxBuffer: 1 << 24 })
    const c = join(work, 'shim.c')
    await translate('--emit=c', '-o', c)
    const { stdout } = await translate('--emit=obj', '--print', 'native-link-info', '-o', join(work, 'shim.o'))
    const { runtime_pack: pack, link } = JSON.parse(stdout) as LinkInfo
    const sources = pack.source_sets.flatMap((set) => set.sources.map((file) => join(pack.root, file)))
    const includes = pack.source_sets.flatMap((set) => set.include_directories.map((folder) => `-I${join(pack.root, folder)}`))
    const libraries = link.system_libraries.map((name) => `-l${name}`)
    const binary = join(work, basename(out))
    await run(cc, [...FLAGS, ...includes, '-o', binary, c, ...sources, ...libraries], { cwd: work, maxBuffer: 1 << 24 })
    await rename(binary, out)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/**
 * Path of the compiled executable for this machine; compiled if it is missing or older than its sources.
 *
 * @throws Error as {@link buildShim}
 */
export async function shimPath(): Promise<string> {
  const out = join(root, 'dist', 'offload-cni')
  const stamp = `${out}.inputs`
  const wanted = `${await inputs()} ${scriptc()?.version ?? ''}`
  const built = await readFile(stamp, 'utf8').catch(() => '')
  // Where scriptc is not installed (from the registry) the packaged binary is what there is.
  const fresh = scriptc() === undefined ? built.split(' ')[0] === wanted.split(' ')[0] : built === wanted
  if (fresh && existsSync(out)) return out
  await buildShim(out, process.env['CC'] ?? 'cc')
  await writeFile(stamp, wanted)
  return out
}

/** Path of the same executable for Node, which needs no compiler. */
export function nodeShimPath(): string {
  return fileURLToPath(new URL(`./shim-node${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url))
}

if (import.meta.main) {
  const out = process.argv[2]
  if (out === undefined) process.stdout.write(`${await shimPath()}\n`)
  else await buildShim(out, process.env['CC'] ?? 'cc')
}
