output "installation" {
  description = "Names and addresses of what was made: data store, pipeline, buckets, repositories, sign-in."
  value       = module.platform.installation
}
