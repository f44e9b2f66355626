/**
 * Certificates for host and agent: an authority, and certificates that name role and node.
 *
 * @packageDocumentation
 */
export { type AuthorityFiles, type AuthorityOptions, createAuthority } from './authority.ts'
export { type CertificateDescription, describeCertificate } from './describe.ts'
export { issueCertificate, type IssueOptions } from './issue.ts'
