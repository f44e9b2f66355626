import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { cpioArchive, EXECUTABLE, FILE, FOLDER } from '../../vm/cpio.ts'

const ENTRIES = [
  { name: 'bin', mode: FOLDER },
  { name: 'bin/one', mode: EXECUTABLE, data: Buffer.from('12345') },
  { name: 'empty', mode: FILE },
  { name: 'four', mode: FILE, data: Buffer.from('1234') },
]

describe('cpioArchive', () => {
  it('has a header, a name and data per entry, each from a multiple of four bytes on', () => {
    const archive = cpioArchive(ENTRIES)
    const read: unknown[] = []
    let at = 0
    while (at < archive.length) {
      expect(archive.toString('latin1', at, at + 6)).toBe('070701')
      const number = (index: number): number => parseInt(archive.toString('latin1', at + 6 + index * 8, at + 14 + index * 8), 16)
      const [mode, size, length] = [number(1), number(6), number(11)]
      const name = archive.toString('latin1', at + 110, at + 110 + length - 1)
      at += Math.ceil((110 + length) / 4) * 4
      read.push([name, mode, archive.toString('latin1', at, at + size)])
      at += Math.ceil(size / 4) * 4
    }
    expect(read).toEqual([
      ['bin', 0o040755, ''],
      ['bin/one', 0o100755, '12345'],
      ['empty', 0o100644, ''],
      ['four', 0o100644, '1234'],
      ['TRAILER!!!', 0, ''],
    ])
  })

  it.skipIf(!existsSync('/bin/busybox'))('is one to a program that knows them (needs busybox)', () => {
    const { stdout, status } = spawnSync('/bin/busybox', ['cpio', '-tv'], { input: cpioArchive(ENTRIES), encoding: 'utf8' })
    expect(status).toBe(0)
    const lines = stdout.trim().split('\n')
    expect(lines.map((line) => line.split(/\s+/).filter((_, index, all) => [0, 1, 2].includes(index) || index === all.length - 1))).toEqual(
      [
        ['drwxr-xr-x', '0/0', '0', 'bin'],
        ['-rwxr-xr-x', '0/0', '5', 'bin/one'],
        ['-rw-r--r--', '0/0', '0', 'empty'],
        ['-rw-r--r--', '0/0', '4', 'four'],
      ],
    )
  })
})
