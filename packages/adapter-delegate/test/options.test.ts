import { describe, expect, it } from 'vitest'
import { delegate } from '../src/index.ts'

describe('options', () => {
  const conflist = { cniVersion: '1.0.0' as const, plugins: [{ type: 'bridge' }] }

  it('have defaults for all but the list', () => {
    expect(delegate.definition.options.parse({ conflist })).toMatchObject({
      cniPath: ['/opt/cni/bin', '/usr/lib/cni'],
      proxyPrefix: 'px',
      execTimeoutMs: 60_000,
      concurrency: 4,
    })
  })

  it.each([
    ['no list', {}, /either conflist or conflistFile/],
    ['two lists', { conflist, conflistFile: '/x' }, /either conflist or conflistFile/],
    ['a relative path', { conflistFile: 'x.conflist' }, /conflistFile = "x\.conflist"/],
    ['a variable that is the runtime’s', { conflist, pluginEnv: { CNI_COMMAND: 'DEL' } }, /pluginEnv/],
    ['an unknown option', { conflist, cnipath: [] }, /cnipath/],
    ['a prefix that makes no file name', { conflist, proxyPrefix: 'a/b' }, /proxyPrefix = "a\/b"/],
  ])('refuse %s', (_what, options, message) => {
    expect(() => delegate(options)).toThrow(expect.objectContaining({ code: 'INVALID_CONFIG', message: expect.stringMatching(message) }))
  })
})
