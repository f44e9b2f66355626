import { OffloadError } from '@cni-offload/sdk'
import { placeFile, readFound, removeFile, removeLeftovers } from './files.ts'
import { DEFAULT_INSTALL_STATE_DIR } from './options.ts'
import { readReceipt, type Receipt, type ReceiptEntry, receiptPath, writeReceipt } from './receipt.ts'

/** What became of one file. */
export interface UninstalledFile {
  /** Where it was. */
  readonly path: string
  /** `kept`: it has been changed since it was installed, and is left alone; `absent`: somebody else had removed it. */
  readonly action: 'removed' | 'restored' | 'kept' | 'absent'
}

/** What an uninstallation did. */
export interface UninstallReport {
  /** All files of the installation; none if nothing was installed. */
  readonly files: readonly UninstalledFile[]
}

/**
 * Takes away what {@link install} has put there, the configuration before the executable, and puts back what stood under our
 * names before. A file that was changed since is left alone. Idempotent.
 *
 * @throws OffloadError INVALID_CONFIG if the receipt is damaged, IO_FAILURE naming the file
 */
export async function uninstall(options: { readonly stateDir?: string } = {}): Promise<UninstallReport> {
  const stateDir = options.stateDir ?? DEFAULT_INSTALL_STATE_DIR
  await removeLeftovers(receiptPath(stateDir))
  const receipt = await readReceipt(stateDir)
  if (Object.keys(receipt).length === 0) return { files: [] }
  const files = await takeAway(receipt)
  const remaining = keptOnly(receipt, files)
  if (Object.keys(remaining).length > 0) await writeReceipt(stateDir, remaining)
  else await removeFile(receiptPath(stateDir))
  return { files }
}

/** The entries whose files were left alone: they may be put right and uninstalled another time. */
export function keptOnly(receipt: Receipt, files: readonly UninstalledFile[]): Receipt {
  const kept = new Set(files.filter(({ action }) => action === 'kept').map(({ path }) => path))
  return Object.fromEntries(Object.entries(receipt).filter(([path]) => kept.has(path)))
}

/** Takes away the files of a receipt, the one that was written last first. */
export async function takeAway(receipt: Receipt): Promise<UninstalledFile[]> {
  const done: UninstalledFile[] = []
  for (const [path, entry] of Object.entries(receipt).toReversed()) done.push({ path, action: await takeAwayOne(path, entry) })
  return done
}

async function takeAwayOne(path: string, entry: ReceiptEntry): Promise<UninstalledFile['action']> {
  await removeLeftovers(path)
  const { previous } = entry
  const found = await readFound(path)
  const isPrevious = found !== undefined && found.sha256 === previous?.sha256
  if (found !== undefined && !isPrevious && !entry.sha256.includes(found.sha256)) return 'kept'
  if (previous === undefined) {
    if (found === undefined) return 'absent'
    await removeFile(path)
    return 'removed'
  }
  if (!isPrevious) {
    const kept = await readFound(previous.kept)
    if (kept === undefined)
      throw new OffloadError('NOT_FOUND', `${previous.kept}, which stood at ${path} before, is gone`, {
        hint: `Restore it from a backup, or create an empty file there to go on and put ${path} right by hand.`,
      })
    await placeFile(path, kept.content, previous.mode)
  }
  await removeFile(previous.kept)
  return 'restored'
}
