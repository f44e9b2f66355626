import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { isRoot, ROOT_REASON } from '@cni-offload/testing'
import { TinyDisk } from '@cni-offload/testing/faults'
import { describe, expect, it } from 'vitest'

describe.skipIf(!isRoot())(`TinyDisk (${ROOT_REASON})`, () => {
  it('is full when it is filled, has room when it is freed, and leaves nothing', async () => {
    let path: string
    {
      await using disk = await TinyDisk.mount(256)
      path = disk.path
      const write = (): void => writeFileSync(join(disk.path, 'file'), Buffer.alloc(16_384))
      write()
      disk.fill()
      expect(() => writeFileSync(join(disk.path, 'other'), 'x')).toThrow('ENOSPC')
      using db = new DatabaseSync(':memory:')
      expect(() => db.exec(`ATTACH '${join(disk.path, 'db')}' AS full; CREATE TABLE full.t (x)`)).toThrow('full')
      disk.free()
      write()
      expect(readFileSync('/proc/self/mounts', 'utf8')).toContain(path)
    }
    expect(existsSync(path)).toBe(false)
    expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(path)
  })
})
