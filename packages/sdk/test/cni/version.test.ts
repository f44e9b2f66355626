import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { answerVersion, CNI_VERSIONS, isAtLeast, isCniVersion, NEWEST_CNI_VERSION, versionReply } from '../../src/cni/index.ts'

describe('versionReply', () => {
  it.each([
    ['{"cniVersion":"0.4.0"}', '0.4.0'],
    ['{"cniVersion":"99.0.0","name":"x","z":[1]}', '99.0.0'],
    ['{"cniVersion":""}', '1.1.0'],
    ['{"cniVersion":1}', '1.1.0'],
    [JSON.stringify({ cniVersion: 'x'.repeat(65) }), '1.1.0'],
    ['{}', '1.1.0'],
    ['null', '1.1.0'],
    ['garbage {', '1.1.0'],
    ['', '1.1.0'],
  ])('%j is answered in %s', (stdin, cniVersion) => {
    expect(JSON.parse(versionReply(stdin))).toEqual({
      cniVersion,
      supportedVersions: ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'],
    })
    expect(answerVersion(stdin)).toBe(cniVersion)
  })

  it('answers whatever it is given', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string(), fc.json()),
        (stdin) => void expect(JSON.parse(versionReply(stdin))).toHaveProperty('supportedVersions'),
      ),
    )
    expect(versionReply('['.repeat(400_000))).toContain('1.1.0')
  })
})

describe('versions', () => {
  it('are compared as whole texts', () => {
    expect(CNI_VERSIONS.every(isCniVersion)).toBe(true)
    expect(['1.0', 'v1.0.0', '', undefined, 1].some(isCniVersion)).toBe(false)
    expect(CNI_VERSIONS.at(-1)).toBe(NEWEST_CNI_VERSION)
  })

  it('are ordered', () => {
    expect(isAtLeast('0.4.0', '0.4.0')).toBe(true)
    expect(isAtLeast('0.3.1', '0.4.0')).toBe(false)
    expect(isAtLeast('1.1.0', '0.4.0')).toBe(true)
  })
})
