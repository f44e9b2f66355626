import { basename, join } from 'node:path'
import { OffloadError } from '@cni-offload/sdk'
import { renderConflist, SHIM_NAME } from './conflist.ts'
import { type FoundFile, placeFile, readFound, removeLeftovers, sha256 } from './files.ts'
import { type InstallOptions, resolveOptions, type ResolvedInstallOptions } from './options.ts'
import { type PreviousFile, readReceipt, type Receipt, receiptPath, writeReceipt } from './receipt.ts'
import { keptOnly, takeAway, type UninstalledFile } from './uninstall.ts'

/** What became of one file. */
export interface InstalledFile {
  /** Where it is. */
  readonly path: string
  /** `replaced`: a file of somebody else is kept aside until it is uninstalled. */
  readonly action: 'written' | 'unchanged' | 'replaced'
}

/** What an installation did. */
export interface InstallReport {
  /** The files of this installation: the executable, then the configuration. */
  readonly files: readonly InstalledFile[]
  /** Files of an earlier installation that this one has no more, because it has other names or folders. */
  readonly removed: readonly UninstalledFile[]
}

interface Wanted {
  readonly path: string
  readonly content: Buffer
  readonly mode: number
  readonly sha256: string
}

/**
 * Installs the CNI executable and the network configuration, or brings them up to date. Idempotent; every file appears at
 * once, the executable before the configuration that names it. A crash in between is made good by the next call.
 *
 * @throws OffloadError INVALID_CONFIG for options; ALREADY_EXISTS if a file under one of our names is not ours, in which case
 * nothing was touched; IO_FAILURE naming the file
 */
export async function install(options: InstallOptions): Promise<InstallReport> {
  const resolved = resolveOptions(options)
  const files = await wantedFiles(resolved)
  const receipt = await readReceipt(resolved.stateDir)
  const found = await Promise.all(files.map(({ path }) => readFound(path)))
  const foreign = files.map((file, at) => isForeign(file, found[at], receipt))
  for (const [at, file] of files.entries()) if (foreign[at] === true && !resolved.replace) throw refused(file.path)
  for (const path of [receiptPath(resolved.stateDir), ...files.map((file) => file.path)]) await removeLeftovers(path)

  // Everything that may be ours is written down before it is there.
  const begun: Record<string, Receipt[string]> = { ...receipt }
  for (const [at, file] of files.entries()) {
    const was = found[at]
    const kept = foreign[at] === true && was !== undefined ? await keepAside(resolved.stateDir, file.path, was) : undefined
    const previous = receipt[file.path]?.previous ?? kept
    begun[file.path] = {
      sha256: [...new Set([...(receipt[file.path]?.sha256 ?? []), file.sha256])],
      ...(previous === undefined ? {} : { previous }),
    }
  }
  await writeReceipt(resolved.stateDir, begun)

  const report: InstalledFile[] = []
  for (const [at, file] of files.entries()) {
    const was = found[at]
    const unchanged = was?.sha256 === file.sha256 && was.mode === file.mode
    if (!unchanged) await placeFile(file.path, file.content, file.mode)
    report.push({ path: file.path, action: foreign[at] === true ? 'replaced' : unchanged ? 'unchanged' : 'written' })
  }
  const outdated = Object.fromEntries(Object.entries(receipt).filter(([path]) => files.every((file) => file.path !== path)))
  const removed = await takeAway(outdated)
  const final = files.map((file) => [file.path, { ...begun[file.path], sha256: [file.sha256] }] as const)
  await writeReceipt(resolved.stateDir, { ...keptOnly(outdated, removed), ...Object.fromEntries(final) })
  return { files: report, removed }
}

async function wantedFiles(options: ResolvedInstallOptions): Promise<readonly Wanted[]> {
  const shim = await readFound(options.shim)
  if (shim === undefined)
    throw new OffloadError('INVALID_CONFIG', `install: shim = ${options.shim}: there is no such file`, {
      hint: 'It is the compiled CNI executable; "./run build" makes it in packages/shim/dist.',
    })
  const conflist = Buffer.from(renderConflist(options))
  return [
    { path: join(options.binDir, SHIM_NAME), content: shim.content, mode: 0o755, sha256: shim.sha256 },
    { path: join(options.confDir, options.fileName), content: conflist, mode: 0o600, sha256: sha256(conflist) },
  ]
}

function isForeign(file: Wanted, found: FoundFile | undefined, receipt: Receipt): boolean {
  if (found === undefined || found.sha256 === file.sha256) return false
  return receipt[file.path]?.sha256.includes(found.sha256) !== true
}

function refused(path: string): OffloadError {
  return new OffloadError('ALREADY_EXISTS', `${path} is there and was not installed by us, or has been changed since`, {
    hint: 'Move it away, install under other names, or let it be replaced (--replace): uninstalling then puts it back.',
  })
}

async function keepAside(stateDir: string, path: string, found: FoundFile): Promise<PreviousFile> {
  const kept = join(stateDir, `${basename(path)}.${found.sha256.slice(0, 12)}.kept`)
  await placeFile(kept, found.content, found.mode)
  return { kept, sha256: found.sha256, mode: found.mode }
}
