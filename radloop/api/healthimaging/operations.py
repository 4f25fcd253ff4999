"""The 18 operations of the HealthImaging API: what each does with the members of a request."""

from collections.abc import Callable, Mapping

from radloop.api.healthimaging.call import Call, Members
from radloop.api.healthimaging.image_sets import (
    copy_image_set,
    delete_image_set,
    get_image_frame,
    get_image_set,
    get_image_set_metadata,
    list_image_set_versions,
    update_image_set_metadata,
)
from radloop.api.healthimaging.search import search_image_sets
from radloop.api.healthimaging.stores import (
    create_datastore,
    delete_datastore,
    get_datastore,
    get_dicom_import_job,
    list_datastores,
    list_dicom_import_jobs,
    list_tags_for_resource,
    start_dicom_import_job,
    tag_resource,
    untag_resource,
)

OPERATIONS: Mapping[str, Callable[[Call], Members]] = {
    "CopyImageSet": copy_image_set,
    "CreateDatastore": create_datastore,
    "DeleteDatastore": delete_datastore,
    "DeleteImageSet": delete_image_set,
    "GetDICOMImportJob": get_dicom_import_job,
    "GetDatastore": get_datastore,
    "GetImageFrame": get_image_frame,
    "GetImageSet": get_image_set,
    "GetImageSetMetadata": get_image_set_metadata,
    "ListDICOMImportJobs": list_dicom_import_jobs,
    "ListDatastores": list_datastores,
    "ListImageSetVersions": list_image_set_versions,
    "ListTagsForResource": list_tags_for_resource,
    "SearchImageSets": search_image_sets,
    "StartDICOMImportJob": start_dicom_import_job,
    "TagResource": tag_resource,
    "UntagResource": untag_resource,
    "UpdateImageSetMetadata": update_image_set_metadata,
}
