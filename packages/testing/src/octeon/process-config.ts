import { readFile } from 'node:fs/promises'
import { OffloadError, parseWith, vfAdminSetting } from '@cni-offload/sdk'
import { parse } from 'yaml'
import { z } from 'zod'
import type { FakeOcteonCardOptions } from './card.ts'

/** Configuration of a fake card that is a process of its own: the options of the same names, as far as a file can hold them. */
export interface FakeCardProcessConfig extends Omit<FakeOcteonCardOptions, 'net' | 'clock'> {
  /** Path of the unix socket under which it is served. */
  readonly socket: string
  /** Network namespace of the host. */
  readonly hostNetns: string
  /** Network namespace of the DPU. */
  readonly dpuNetns: string
}

const processConfig: z.ZodType<FakeCardProcessConfig> = z.strictObject({
  socket: z.string().min(1),
  hostNetns: z.string().min(1),
  dpuNetns: z.string().min(1),
  siliconName: z.string().min(1).exactOptional(),
  vfs: z.int().min(1).exactOptional(),
  layout: z.enum(['af', 'sdp']).exactOptional(),
  firmware: z.enum(['12.24.09', '12.25.01', '12.25.03']).exactOptional(),
  hostDriver: z.enum(['upstream', 'out-of-tree']).exactOptional(),
  vfAdmin: z.partialRecord(vfAdminSetting, z.enum(['does', 'pretends', 'refuses'])).exactOptional(),
  part: z.enum(['cn106xx', 'cnf105xx', 'cnf105xxn', 'cn103xx']).exactOptional(),
  revision: z.enum(['50', '51', '54']).exactOptional(),
  state: z.enum(['prepared', 'fresh']).exactOptional(),
  agent: z.enum(['steady', 'none']).exactOptional(),
  vfDelayMs: z.int().min(0).exactOptional(),
  hugepageKb: z.literal([2_048, 32_768, 524_288]).exactOptional(),
  microcode: z.boolean().exactOptional(),
  hostIommu: z.boolean().exactOptional(),
  sharedGroups: z.array(z.array(z.string())).exactOptional(),
})

/** Reads the configuration of a fake card. @throws OffloadError INVALID_CONFIG */
export async function readCardConfig(file: string): Promise<FakeCardProcessConfig> {
  try {
    return parseWith(processConfig, parse(await readFile(file, 'utf8')), file, 'INVALID_CONFIG')
  } catch (error) {
    throw OffloadError.from(error, 'INVALID_CONFIG', `configuration ${file} of the fake card`)
  }
}
