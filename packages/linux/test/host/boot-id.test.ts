import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { bootId } from '../../src/index.ts'

describe('the boot id', () => {
  let root: string
  const file = (): string => join(root, 'proc/sys/kernel/random/boot_id')

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'boot-id-'))
    mkdirSync(join(root, 'proc/sys/kernel/random'), { recursive: true })
  })
  afterEach(() => rmSync(root, { recursive: true }))

  test('is the kernel’s', async () => {
    expect(await bootId()).toBe(readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim())
  })

  test('is read below another root', async () => {
    writeFileSync(file(), 'a-b-c\n')
    expect(await bootId(root)).toBe('a-b-c')
  })

  test('that is missing or empty is an error with the path', async () => {
    await expect(bootId(root)).rejects.toMatchObject({ code: 'IO_FAILURE', message: expect.stringContaining(file()) })
    writeFileSync(file(), '\n')
    await expect(bootId(root)).rejects.toMatchObject({ code: 'IO_FAILURE', message: expect.stringContaining('is empty') })
  })
})
