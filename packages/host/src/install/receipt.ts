import { join } from 'node:path'
import { OffloadError, parseWith } from '@cni-offload/sdk'
import { z } from 'zod'
import { placeFile, readFound } from './files.ts'

/** A file of somebody else that stood under our name. */
export interface PreviousFile {
  /** Where it is kept. */
  readonly kept: string
  /** SHA-256 of its bytes, hexadecimal. */
  readonly sha256: string
  /** Its permissions. */
  readonly mode: number
}

/** What was put under one path. */
export interface ReceiptEntry {
  /** SHA-256 of everything of ours that may be there; more than one while an installation is under way. */
  readonly sha256: readonly string[]
  /** What {@link uninstall} puts back. */
  readonly previous?: PreviousFile
}

/** What the installer has put where. Written before anything is touched, so that a crash leaves no file that nobody owns. */
export type Receipt = Readonly<Record<string, ReceiptEntry>>

const hash = z.string().regex(/^[0-9a-f]{64}$/, 'SHA-256 in hexadecimal')
const receiptFile: z.ZodType<{ version: 1; files: Receipt }> = z.object({
  version: z.literal(1),
  files: z.record(
    z.string().startsWith('/'),
    z.object({
      sha256: z.array(hash),
      previous: z.object({ kept: z.string().startsWith('/'), sha256: hash, mode: z.number().int().min(0).max(0o7777) }).exactOptional(),
    }),
  ),
})

/** Path of the receipt in its folder. */
export function receiptPath(stateDir: string): string {
  return join(stateDir, 'receipt.json')
}

/** What was installed; empty if nothing was. @throws OffloadError INVALID_CONFIG naming file and field; IO_FAILURE */
export async function readReceipt(stateDir: string): Promise<Receipt> {
  const path = receiptPath(stateDir)
  const found = await readFound(path)
  if (found === undefined) return {}
  let decoded: unknown
  try {
    decoded = JSON.parse(found.content.toString('utf8'))
  } catch (error) {
    throw new OffloadError('INVALID_CONFIG', `${path} is not JSON`, {
      cause: error,
      hint: 'Remove it and install again; files under our names that differ are then refused unless they shall be replaced.',
    })
  }
  return parseWith(receiptFile, decoded, path, 'INVALID_CONFIG').files
}

/** Writes the receipt. @throws OffloadError IO_FAILURE */
export async function writeReceipt(stateDir: string, files: Receipt): Promise<void> {
  await placeFile(receiptPath(stateDir), Buffer.from(`${JSON.stringify({ version: 1, files }, null, 2)}\n`), 0o600)
}
