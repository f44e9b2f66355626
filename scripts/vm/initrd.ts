import { gzipSync } from 'node:zlib'
import { cpioArchive, EXECUTABLE, FILE, FOLDER } from './cpio.ts'
import { initScript, type InitOptions } from './init.ts'
import type { KernelModule } from './modules.ts'

/** Of what the first file system is made. */
export interface InitrdOptions extends Omit<InitOptions, 'modules'> {
  /** Modules in the order to load them. */
  readonly modules: readonly KernelModule[]
  /** A busybox without libraries. */
  readonly busybox: Uint8Array
}

const FOLDERS = ['bin', 'changes', 'dev', 'host', 'modules', 'new', 'proc', 'sys']

/** The first file system of the virtual machine: busybox, modules and the script that begins. */
export function makeInitrd({ modules, busybox, ...more }: InitrdOptions): Buffer {
  const files = modules.map(({ name, data }) => ({ name: `${name}.ko`, data }))
  const archive = cpioArchive([
    ...FOLDERS.map((name) => ({ name, mode: FOLDER })),
    { name: 'bin/busybox', mode: EXECUTABLE, data: busybox },
    ...files.map(({ name, data }) => ({ name: `modules/${name}`, mode: FILE, data })),
    { name: 'init', mode: EXECUTABLE, data: Buffer.from(initScript({ modules: files.map(({ name }) => name), ...more })) },
  ])
  return gzipSync(archive, { level: 1 })
}
