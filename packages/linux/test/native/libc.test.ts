import { closeSync, openSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { errnoName, errnoOf, Refusal } from '../../src/native/errno.ts'
import { CLONE_NEWNET, loadLibc } from '../../src/native/libc.ts'

const libc = loadLibc()

const namespaceType = (path: string): number | undefined => {
  const fd = openSync(path, 'r')
  try {
    return libc.namespaceType(fd)
  } finally {
    closeSync(fd)
  }
}

describe('errno', () => {
  test('has its symbolic name', () => {
    expect(errnoName(17)).toBe('EEXIST')
    expect(errnoName(99_999)).toBe('errno 99999')
  })

  test('is found in refusals and in errors of node:fs, nowhere else', () => {
    let missing: unknown
    try {
      openSync('/nowhere/at/all', 'r')
    } catch (error) {
      missing = error
    }
    expect(errnoOf(missing)).toBe(2)
    expect(errnoOf(new Refusal(16, 'x'))).toBe(16)
    expect(errnoOf(new Error('x'))).toBeUndefined()
    expect(errnoOf('EEXIST')).toBeUndefined()
  })
})

describe('libc', () => {
  test('tells network namespaces from others and from files', () => {
    expect(namespaceType('/proc/self/ns/net')).toBe(CLONE_NEWNET)
    expect(namespaceType('/proc/self/ns/mnt')).toBe(0x0002_0000)
    expect(namespaceType('/etc/passwd')).toBeUndefined()
  })

  test('refuses with the errno of the failed call', () => {
    expect(() => libc.setNetns(-1)).toThrow(new Refusal(9, 'setns'))
    expect(() => libc.socket(9999, 1, 0)).toThrow(/^EAFNOSUPPORT: socket$/)
  })
})
