import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { initScript, quoted } from '../../vm/init.ts'
import { availableMib, missing } from '../../vm/missing.ts'
import { qemuArguments } from '../../vm/qemu.ts'
import { taskScript } from '../../vm/task.ts'

const shellReads = (script: string): string => execFileSync('/bin/sh', ['-c', script], { encoding: 'utf8' })

describe('what the virtual machine is told', () => {
  it('a word is one word to a shell, whatever is in it', () => {
    const word = `it's "$HOME" \\ * a`
    expect(shellReads(`printf %s ${quoted(word)}`)).toBe(word)
  })

  it('modules are loaded in their order, and the last word is to switch off', () => {
    const script = initScript({ modules: ['b.ko', 'a.ko'], share: '/x/share', run: '/x/share/run-1', seconds: 60 })
    expect(script).toContain(`for module in 'b.ko' 'a.ko'; do`)
    expect(script).toContain('sleep 60')
    expect(script.trimEnd().split('\n').at(-1)).toBe('off')
    execFileSync('/bin/sh', ['-n'], { input: script })
  })

  it('a comma in a path does not end an option of QEMU', () => {
    const argv = qemuArguments({ root: '/q', kernel: '/k', initrd: '/i', share: '/a,b', memory: 64, processors: 1 })
    expect(argv.join(' ')).toContain('path=/a,,b,mount_tag=share')
    expect(argv.filter((argument) => argument.startsWith('local,path=/,'))).toEqual([expect.stringContaining('readonly=on')])
  })

  it('tests get their options as they are', () => {
    const options = { workspace: '/', node: 'printf', files: ['/a b.test.ts'], results: '/r', bundle: '/b', compiled: '/c' }
    const script = taskScript({ ...options, title: `it's $HOME` }).replace("'printf'", `'printf' '%s|'`)
    expect(shellReads(script).split('|')).toEqual(expect.arrayContaining([`--test-name-pattern=it's $HOME`, '/a b.test.ts']))
    expect(shellReads(taskScript({ ...options, node: 'true' }))).toBe('')
  })
})

describe('where the virtual machine cannot be run', () => {
  const needs = { debian: '/nowhere', busybox: '/bin/sh', memoryMib: 1 }

  it.runIf(process.arch === 'x64')('the reason is told', async () => {
    expect(await missing(needs)).toMatch(/QEMU 10 and a kernel .* could not be fetched/)
  })

  it('memory is what the kernel says can be had', () => {
    expect(availableMib('MemTotal:  9 kB\nMemAvailable:   2048 kB\n')).toBe(2)
    expect(availableMib('')).toBe(0)
  })
})
