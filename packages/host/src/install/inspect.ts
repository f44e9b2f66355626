import { readFound } from './files.ts'
import { DEFAULT_INSTALL_STATE_DIR } from './options.ts'
import { readReceipt } from './receipt.ts'

/** What is there of a file that was installed. */
export interface InstalledState {
  /** Where it was put. */
  readonly path: string
  /** `changed`: it is there, and not as it was installed. */
  readonly state: 'intact' | 'changed' | 'absent'
  /** Whether its owner may execute it; false if it is absent. */
  readonly executable: boolean
}

/**
 * What is there of what {@link install} has put there. Nothing is changed.
 *
 * @returns none if nothing was installed
 * @throws OffloadError INVALID_CONFIG if the receipt is damaged, IO_FAILURE naming the file
 */
export async function inspectInstallation(options: { readonly stateDir?: string } = {}): Promise<readonly InstalledState[]> {
  const receipt = await readReceipt(options.stateDir ?? DEFAULT_INSTALL_STATE_DIR)
  return await Promise.all(
    Object.entries(receipt).map(async ([path, entry]): Promise<InstalledState> => {
      const found = await readFound(path)
      if (found === undefined) return { path, state: 'absent', executable: false }
      const intact = entry.sha256.includes(found.sha256)
      return { path, state: intact ? 'intact' : 'changed', executable: (found.mode & 0o100) !== 0 }
    }),
  )
}
